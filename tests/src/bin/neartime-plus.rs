//! The command line of neartime with the features of the tests added to its list.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut features = neartime_features::all();
    features.extend(neartime_tests::wiki::all());
    features.extend(neartime_tests::faulty::all());
    neartime::main(features)
}
