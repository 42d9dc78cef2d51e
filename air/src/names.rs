//! The CSV files that give segments their groups, and segments and sites their names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use crate::error::AirError;

/// The group of all segments where the configuration names no groups file.
pub(crate) const GROUP_OF_ALL: &str = "all";

/// Which segments belong to which groups, and what they are called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// One group, [`GROUP_OF_ALL`], of all segments; none has a name.
    All,
    /// By segment, by group: the segment's name.
    Listed(BTreeMap<String, BTreeMap<String, Option<String>>>),
}

/// The names of sites, by id.
pub type SiteNames = BTreeMap<String, String>;

/// Reads `id,group,name` (a header line; columns in any order, `name` may be missing or empty).
pub fn read_groups(path: &Path) -> Result<Groups, AirError> {
    let mut segments: BTreeMap<String, BTreeMap<String, Option<String>>> = BTreeMap::new();
    read_csv(path, ["id", "group", "name"], &["id", "group"], |[id, group, name]| {
        let name = (!name.is_empty()).then(|| name.to_owned());
        match segments.entry(id.to_owned()).or_default().entry(group.to_owned()) {
            Entry::Vacant(vacant) => {
                vacant.insert(name);
                Ok(())
            }
            Entry::Occupied(named) if *named.get() == name => Ok(()),
            Entry::Occupied(_) => Err(format!("segment `{id}` of group `{group}` has another name further up")),
        }
    })?;
    Ok(Groups::Listed(segments))
}

/// Reads `id,name` (a header line; columns in any order).
pub fn read_site_names(path: &Path) -> Result<SiteNames, AirError> {
    let mut names = SiteNames::new();
    read_csv(path, ["id", "name"], &["id", "name"], |[id, name]| {
        if name.is_empty() {
            return Ok(());
        }
        match names.insert(id.to_owned(), name.to_owned()) {
            Some(other) if other != name => Err(format!("site `{id}` has another name further up")),
            _ => Ok(()),
        }
    })?;
    Ok(names)
}

/// Hands over each line's fields in the order of `columns`; a column that is not `required` may be missing.
fn read_csv<const N: usize>(
    path: &Path,
    columns: [&str; N],
    required: &[&str],
    mut each: impl FnMut([&str; N]) -> Result<(), String>,
) -> Result<(), AirError> {
    let text = std::fs::read(path).map_err(AirError::file("read", path))?;
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
    let invalid = |line: u64, reason: &str| AirError::Invalid(format!("{}:{line}: {reason}", path.display()));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text);
    let header = reader.headers().map_err(|error| invalid(1, &error.to_string()))?.clone();
    let expected = format!("the first line must be the header `{}`", columns.join(","));
    for (at, name) in header.iter().enumerate() {
        if !columns.contains(&name) || header.iter().take(at).any(|other| other == name) {
            return Err(invalid(1, &format!("{expected}, not `{}`", header.iter().collect::<Vec<_>>().join(","))));
        }
    }
    if let Some(missing) = required.iter().find(|name| !header.iter().any(|found| found == **name)) {
        return Err(invalid(1, &format!("{expected}: `{missing}` is missing")));
    }
    let places = columns.map(|column| header.iter().position(|name| name == column));
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, csv::Position::line);
            invalid(line, &error.to_string())
        })?;
        let line = record.position().map_or(1, csv::Position::line);
        if record.len() != header.len() {
            let reason = format!("{} fields where the header has {}", record.len(), header.len());
            return Err(invalid(line, &reason));
        }
        let fields = places.map(|place| place.and_then(|at| record.get(at)).unwrap_or(""));
        for (column, field) in columns.iter().zip(fields) {
            if field.is_empty() && required.contains(column) && *column != "name" {
                return Err(invalid(line, &format!("`{column}` is empty")));
            }
        }
        each(fields).map_err(|reason| invalid(line, &reason))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn groups_error(text: &str) -> String {
        let file = file(text);
        let error = read_groups(file.path()).unwrap_err().to_string();
        error.strip_prefix(&file.path().display().to_string()).unwrap().to_owned()
    }

    #[test]
    fn a_segment_may_be_in_several_groups() {
        let file = file("\u{feff}id,group,name\n11,travel,Beach\n11,leisure,\"Sun, sand\"\r\n\n12 , travel ,\n");
        let Groups::Listed(segments) = read_groups(file.path()).unwrap() else { panic!("listed") };
        assert_eq!(segments["11"]["leisure"].as_deref(), Some("Sun, sand"));
        assert_eq!(segments["11"]["travel"].as_deref(), Some("Beach"));
        assert_eq!(segments["12"]["travel"], None);
    }

    #[test]
    fn errors_tell_the_line() {
        assert!(groups_error("11,travel,Beach\n").starts_with(":1: the first line must be the header"));
        assert!(groups_error("id,name\n").contains("`group` is missing"));
        assert!(groups_error("id,name\n11,Beach\n").starts_with(":1: the first line must be the header"));
        assert_eq!(groups_error("id,group,name\n11,travel,A\n12,travel\n"), ":3: 2 fields where the header has 3");
        assert_eq!(groups_error("id,group,name\n11,,A\n"), ":2: `group` is empty");
        let error = groups_error("id,group,name\n11,g,A\n11,g,B\n");
        assert_eq!(error, ":3: segment `11` of group `g` has another name further up");
    }

    #[test]
    fn sites_have_names() {
        let file = file("name,id\nNews,457455\n");
        assert_eq!(read_site_names(file.path()).unwrap()["457455"], "News");
        let missing = read_site_names(Path::new("no/such.csv")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read `no/such.csv`");
    }
}
