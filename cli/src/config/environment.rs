//! Overrides from the environment: `NEARTIME_TASKS__DATABASE` stands for `database` in `[tasks]`.
//!
//! The element of an array of tables is named by its `name`: `NEARTIME_SOURCE__HORIZONTALS__LOCATION`. Only scalars
//! can be overridden.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

const PREFIX: &str = "NEARTIME_";
const SEPARATOR: &str = "__";

/// The variables that override keys, and which of them were asked for.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    values: BTreeMap<String, String>,
    used: RefCell<BTreeSet<String>>,
}

impl Environment {
    /// Keeps what of `variables` is named like an override.
    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_override = |name: &str| name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains(SEPARATOR));
        let values = variables.into_iter().filter(|(name, _)| is_override(name)).collect();
        Self { values, used: RefCell::default() }
    }

    /// The environment of this process; values that are no UTF-8 are left out.
    pub(crate) fn of_process() -> Self {
        Self::new(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// The override of the key at `path`, with the variable's name.
    pub(super) fn get(&self, path: &[&str]) -> Option<(&str, &str)> {
        let (name, value) = self.values.get_key_value(&variable(path))?;
        self.used.borrow_mut().insert(name.clone());
        Some((name, value))
    }

    /// Whether a key below `path` is overridden.
    pub(super) fn has_below(&self, path: &[&str]) -> bool {
        let prefix = variable(path) + SEPARATOR;
        self.values.keys().any(|name| name.starts_with(&prefix))
    }

    /// Variables that no key asked for.
    pub(super) fn unused(&self) -> Vec<&str> {
        let used = self.used.borrow();
        self.values.keys().filter(|name| !used.contains(*name)).map(String::as_str).collect()
    }
}

fn variable(path: &[&str]) -> String {
    let upper = |part: &&str| part.replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_ascii_uppercase();
    PREFIX.to_owned() + &path.iter().map(upper).collect::<Vec<_>>().join(SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_sections_and_names() {
        assert_eq!(variable(&["tasks", "database"]), "NEARTIME_TASKS__DATABASE");
        assert_eq!(variable(&["source", "my-source", "location"]), "NEARTIME_SOURCE__MY_SOURCE__LOCATION");
    }

    #[test]
    fn what_nobody_asked_for_is_known() {
        let pairs =
            [("NEARTIME_RUN__WORKERS", "3"), ("NEARTIME_RUN__WROKERS", "4"), ("NEARTIME_CONFIG", "x"), ("HOME", "/")];
        let environment = Environment::new(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(environment.get(&["run", "workers"]), Some(("NEARTIME_RUN__WORKERS", "3")));
        assert!(environment.has_below(&["run"]) && !environment.has_below(&["s3"]));
        assert_eq!(environment.unused(), ["NEARTIME_RUN__WROKERS"]);
    }
}
