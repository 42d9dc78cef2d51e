//! `neartime import`: cuts files of any name and order into files of a source's layout.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use neartime_ingest::{ImportReport, ImportRequest, Overlap, Source};

use crate::app::App;
use crate::args::{Format, ImportArgs};
use crate::config::Size;
use crate::exit::Invalid;
use crate::output::{self, Cell, printable};
use crate::progress::Progress;

const COLUMNS: [&str; 6] = ["lines", "placed", "before_since", "files_made", "files_there", "refused"];
/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(250);
/// Refused lines that are shown.
const SHOWN: usize = 5;

pub(crate) async fn execute(app: &App, args: ImportArgs) -> anyhow::Result<()> {
    let name = &args.source;
    let Some(source) = app.config().sources.iter().find(|source| source.source.name == *name) else {
        return Err(Invalid(format!("there is no source `{name}` in the configuration")).into());
    };
    let total: u64 = args.files.iter().map(|file| size(file)).sum();
    let bytes_read = Arc::new(AtomicU64::new(0));
    let captures = args.set.into_iter().collect();
    let request = ImportRequest { files: args.files, captures, bytes_read: Arc::clone(&bytes_read) };
    let progress = Progress::begin(format_args!("importing into {name}"));
    let told = async {
        loop {
            tokio::time::sleep(TICK).await;
            let read = Size(bytes_read.load(Ordering::Relaxed));
            progress.tell(format_args!("importing into {name}: {read} of {} read", Size(total)));
        }
    };
    let report = tokio::select! {
        report = neartime_ingest::import(&source.source, request) => report,
        () = told => unreachable!("it tells for ever"),
    };
    progress.finish();
    show(app.format(), &source.source, &report?)
}

/// A file that is not there is the import's to complain of.
fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}

fn shown(file: &Path) -> String {
    printable(&file.display().to_string())
}

fn show(format: Format, source: &Source, report: &ImportReport) -> anyhow::Result<()> {
    let refused: u64 = report.refused.values().sum();
    let ImportReport { lines, placed, before_since, files_made, files_there, .. } = *report;
    let row = [lines, placed, before_since, files_made, files_there, refused].map(Cell::from).to_vec();
    output::print(format, &COLUMNS, None, vec![row])?;
    if before_since > 0 {
        eprintln!("warning: {before_since} lines lie before the source's `since`: discovery will not see them");
    }
    for (reason, count) in &report.refused {
        eprintln!("warning: {count} lines were left out: {reason}");
    }
    for example in report.examples.iter().take(SHOWN) {
        eprintln!("  {} line {}: {}", printable(example.key.as_str()), example.line, printable(&example.text));
    }
    for (file, reason) in &report.broken {
        eprintln!("warning: nothing of {} was placed: {reason}", shown(file));
    }
    for Overlap { file, mark, others } in &report.overlaps {
        let others: Vec<_> = others.iter().map(|mark| format!("`{mark}`")).collect();
        eprintln!(
            "warning: {} went into chunks in which earlier imports have files. If it has lines of theirs, as a log that \
             has grown, they count twice now: remove, below {}, the files with `{mark}` in their names (this import), \
             or those with {} (the earlier ones); where they were processed already, `neartime tasks retry \
             --accept-missing` goes on without them",
            shown(file),
            source.location,
            others.join(", "),
        );
    }
    match report.broken.len() {
        0 => Ok(()),
        broken => bail!("{broken} input files could not be read to their end; import them again once they are whole"),
    }
}
