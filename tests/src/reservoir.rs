//! Writing raw files the way producers do.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

/// One gzip member that holds `text`.
pub fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_ref()).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// Writes `bytes` at `root/key` in one step, as an uploaded object appears.
pub fn put(root: &Path, key: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(key);
    let folder = path.parent().expect("a key below the root");
    fs::create_dir_all(folder).expect("the folders of the key");
    let partial = folder.join(format!(".{}.partial", path.file_name().expect("a name").to_string_lossy()));
    fs::write(&partial, bytes).expect("the object's bytes");
    fs::rename(&partial, &path).expect("the object's name");
}

/// Writes gzipped JSON lines at `root/key`.
pub fn put_lines<'a>(root: &Path, key: &str, lines: impl IntoIterator<Item = &'a str>) {
    let text: String = lines.into_iter().flat_map(|line| [line, "\n"]).collect();
    put(root, key, gzip(text));
}
