//! Hands long tables to the reader's pager.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

/// The pager where `PAGER` names none: leaves short text on the screen, keeps colours, does not wrap.
const DEFAULT: &str = "less -FRSX";

/// Shows `text` in the pager; `false` if there is none, so that the caller prints it.
pub(super) fn show(text: &str) -> io::Result<bool> {
    let command = std::env::var("PAGER").ok().filter(|pager| !pager.is_empty()).unwrap_or_else(|| DEFAULT.to_owned());
    let mut words = command.split_whitespace();
    let Some(program) = words.next() else { return Ok(false) };
    let Ok(mut pager) = Command::new(program).args(words).stdin(Stdio::piped()).spawn() else { return Ok(false) };
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
