//! What the configuration asks for and this build was made without.

use crate::config::{Config, Database, Place};

/// A part of neartime that a build may leave out.
struct Part {
    feature: &'static str,
    is_built: bool,
}

const POSTGRES: Part = Part { feature: "postgres", is_built: cfg!(feature = "postgres") };
const CASSANDRA: Part = Part { feature: "cassandra", is_built: cfg!(feature = "cassandra") };
const AWS: Part = Part { feature: "aws", is_built: cfg!(feature = "aws") };

/// All that is lacking, a sentence each.
pub(crate) fn lacks(config: &Config) -> Vec<String> {
    let wanted = wanted(config).into_iter().filter(|(part, ..)| !part.is_built);
    let sentence = |(part, what, instead): (&Part, String, &str)| {
        let feature = part.feature;
        format!("this build lacks {what}: build it with --features {feature} (or servers), or {instead}")
    };
    wanted.map(sentence).collect()
}

/// What the room of a part that is not built would say; configurations that need it were refused before.
#[cfg(not(all(feature = "postgres", feature = "cassandra", feature = "aws")))]
pub(super) fn without(feature: &str) -> anyhow::Error {
    crate::exit::Invalid(format!("this build lacks `{feature}`: build it with --features {feature}")).into()
}

fn wanted(config: &Config) -> Vec<(&'static Part, String, &'static str)> {
    let mut wanted = Vec::new();
    if matches!(config.tasks, Database::Server(_)) {
        wanted.push((&POSTGRES, "Postgres for the task table".to_owned(), "set `database` in [tasks] to sqlite://…"));
    }
    if let Place::Bucket { .. } = &config.features_store {
        let what = format!("S3 for the features store ({})", config.features_store);
        wanted.push((&AWS, what, "set `location` to a directory"));
    }
    if config.online_store.as_ref().is_some_and(|store| matches!(store.database, Database::Server(_))) {
        let what = "Cassandra for the online store".to_owned();
        wanted.push((&CASSANDRA, what, "set `url` in [online_store] to sqlite://…"));
    }
    for source in &config.sources {
        let name = &source.source.name;
        if let Place::Bucket { .. } = &source.location {
            let what = format!("S3 for the source `{name}` ({})", source.location);
            wanted.push((&AWS, what, "set `location` to a directory"));
        }
        for channel in &source.channels {
            let what = format!("discovery by {} for the source `{name}`", channel.name());
            wanted.push((&AWS, what, "set `discover` to [\"list\"]"));
        }
    }
    if config.air.as_ref().is_some_and(|air| matches!(air.database, Database::Server(_))) {
        let what = "Postgres for the Audience Index Report".to_owned();
        wanted.push((&POSTGRES, what, "set `database` in [air] to sqlite://…"));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Environment;

    #[test]
    fn a_fleet_wants_every_part_and_the_embedded_default_none() {
        let parse = |text: &str| Config::parse("neartime.toml", text, Path::new("/"), &Environment::default()).unwrap();
        let wanted = |text: &str| {
            let mut parts: Vec<_> = wanted(&parse(text)).into_iter().map(|(part, ..)| part.feature).collect();
            parts.sort_unstable();
            parts.dedup();
            parts
        };
        assert_eq!(wanted(include_str!("../../../infra/production/neartime.toml")), ["aws", "cassandra", "postgres"]);
        let embedded = "[[source]]\nname = \"visits\"\nlocation = \"raw\"\nlayout = \"%Y/%m/%d/%H%M.gz\"\n\
                        columns = { user = \"string\" }\n";
        assert!(wanted(embedded).is_empty());
        assert!(lacks(&parse(embedded)).is_empty());
    }
}
