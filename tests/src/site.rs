//! A folder with a `neartime.toml`, and the real binary run on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::disk::SmallDisk;

/// A folder of its own for one test: configuration, reservoir, stores and databases; removed at the end.
#[derive(Debug)]
pub struct Site {
    /// Goes before the folder that it lies over.
    disk: Option<SmallDisk>,
    folder: TempDir,
    binary: PathBuf,
    variables: Vec<(String, String)>,
}

/// What one run of the binary left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    /// Makes the folder and writes the configuration into it; `binary` is `env!("CARGO_BIN_EXE_neartime-plus")`.
    pub fn new(binary: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("neartime.toml"), config).expect("the configuration is written");
        Self { disk: None, folder, binary: binary.into(), variables: Vec::new() }
    }

    /// Sets a variable of the binary's environment.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets everything that runs here see a small disk over one of the site's folders; `None` where nobody may mount.
    pub fn with_small_disk(mut self, folder: &str, kilobytes: u32) -> Option<Self> {
        self.disk = Some(SmallDisk::over(&self.path().join(folder), kilobytes)?);
        Some(self)
    }

    /// The disk of [`Self::with_small_disk`].
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("it has a small disk")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the configuration.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.path().join("neartime.toml"), config).expect("the configuration is written");
    }

    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = match &self.disk {
            None => Command::new(&self.binary),
            Some(disk) => disk.command(&self.binary, self.path()),
        };
        command.args(args).current_dir(self.path()).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the binary to its end.
    pub fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Ran {
        let output = self.command(args).output().expect("the binary starts");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the binary and leaves it running.
    pub fn start<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }

    /// Runs `neartime run --once` and expects this exit code.
    #[track_caller]
    pub fn run_once(&self, code: i32) -> Ran {
        let ran = self.run(["run", "--once"]);
        assert_eq!(ran.code, Some(code), "run --once ended otherwise:\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs a verb that must succeed and reads its CSV: the rows without the header.
    #[track_caller]
    pub fn rows<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Vec<Vec<String>> {
        let args: Vec<&str> = args.into_iter().chain(["--format", "csv"]).collect();
        let ran = self.run(args.iter().copied());
        assert_eq!(ran.code, Some(0), "{args:?} failed:\n{}\n{}", ran.stdout, ran.stderr);
        let mut reader = csv::Reader::from_reader(ran.stdout.as_bytes());
        let text = |record: csv::StringRecord| record.iter().map(str::to_owned).collect();
        reader.records().map(|record| text(record.expect("the output is CSV"))).collect()
    }

    /// Runs a verb that must succeed and reads its JSON array.
    #[track_caller]
    pub fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Vec<serde_json::Value> {
        let args: Vec<&str> = args.into_iter().chain(["--json"]).collect();
        let ran = self.run(args.iter().copied());
        assert_eq!(ran.code, Some(0), "{args:?} failed:\n{}\n{}", ran.stdout, ran.stderr);
        serde_json::from_str(&ran.stdout).expect("the output is a JSON array")
    }

    /// The rows of a SQL query.
    #[track_caller]
    pub fn sql(&self, query: &str) -> Vec<Vec<String>> {
        self.rows(["sql", query])
    }

    /// Every published Parquet file below the features store, by its path there, with its bytes; none where there is
    /// no store yet.
    pub fn parquet_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.path().join("features_store");
        let root = self.disk.as_ref().map_or(root.clone(), |disk| disk.seen(&root));
        let mut files = BTreeMap::new();
        if !root.exists() {
            return files;
        }
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder of the features store") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "parquet")
                    && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
                {
                    let bytes = std::fs::read(&path).expect("a published file");
                    files.insert(path.strip_prefix(&root).expect("below the root").to_owned(), bytes);
                }
            }
        }
        files
    }
}

/// The part of a Parquet file that holds its rows: all but the footer, which also says where the raw files lay.
pub fn rows_of_parquet(file: &[u8]) -> &[u8] {
    let (rest, magic) = file.split_last_chunk::<4>().expect("a Parquet file");
    assert_eq!(magic, b"PAR1");
    let (rest, length) = rest.split_last_chunk::<4>().expect("the footer's length");
    &rest[..rest.len() - u32::from_le_bytes(*length) as usize]
}
