//! Hands long tables to the reader's pager.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

/// The pager where `PAGER` names none.
const DEFAULT: &str = "less";
/// What `less` is told where `LESS` tells it nothing: leave short text on the screen, keep colours, do not wrap.
const LESS: &str = "FRSX";

/// Shows `text` in the pager; `false` if there is none, so that the caller prints it.
pub(super) fn show(text: &str) -> io::Result<bool> {
    let command = std::env::var("PAGER").ok().filter(|pager| !pager.is_empty()).unwrap_or_else(|| DEFAULT.to_owned());
    let mut words = command.split_whitespace();
    let Some(program) = words.next() else { return Ok(false) };
    let mut pager = Command::new(program);
    pager.args(words).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        pager.env("LESS", LESS);
    }
    let Ok(mut pager) = pager.spawn() else { return Ok(false) };
    let mut input = pager.stdin.take().expect("its standard input is a pipe");
    // A reader who quits early closes the pipe: that is no error.
    let written = match input.write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    };
    drop(input);
    pager.wait()?;
    written.map(|()| true)
}
