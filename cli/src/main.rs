//! The `neartime` binary: the library's commands over the features of this house.

use std::process::ExitCode;

fn main() -> ExitCode {
    neartime::main(neartime_features::all())
}
