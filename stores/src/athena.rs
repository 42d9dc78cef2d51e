//! The statement that makes a feature's Parquet tree a table of Amazon Athena.
//!
//! Partition projection instead of a catalogue of partitions: Athena works out the folders from the query's filters,
//! so that a new chunk can be read as soon as its file is there, and nothing has to be registered.

use std::fmt::Write as _;

use datafusion::arrow::datatypes::DataType;
use neartime_engine::FeatureTable;
use neartime_model::{ChunkWidth, PartitionColumn};

/// Years that the table covers. Athena walks through all of them where a query names none.
const YEARS: &str = "2000,2099";

/// Writes `CREATE EXTERNAL TABLE features_store.<feature>` over the files below `location`, the features store's root
/// (`s3://bucket/prefix`).
///
/// Text is `string`, whole numbers `bigint`, other numbers `double`, instants `timestamp` (UTC). The partition columns
/// are zero-padded `string`s, as in neartime's own SQL.
pub fn ddl(table: &FeatureTable, location: &str) -> String {
    let folder = format!("{}/{}/", location.trim_end_matches('/'), table.name);
    let columns = table.output.columns().iter();
    let columns = columns.map(|column| format!("  {} {}", quoted(column.name.as_str()), hive_type(&column.data_type)));
    let partitions = PartitionColumn::of_width(table.width);
    let partitioned_by = partitions.iter().map(|column| format!("  {} string", quoted(column.name())));
    let template = partitions.iter().fold(folder.clone(), |mut template, column| {
        write!(template, "{0}=${{{0}}}/", column.name()).expect("writing to a String cannot fail");
        template
    });
    let mut properties = vec![property("projection.enabled", "true")];
    properties.extend(partitions.iter().flat_map(|column| projection(*column, table.width)));
    properties.push(property("storage.location.template", &template));
    format!(
        "-- {}: {} of {}, version {}. Name a year and a month in queries: Athena looks into every folder that they allow.\n\
         CREATE EXTERNAL TABLE IF NOT EXISTS `features_store`.{} (\n{}\n)\nPARTITIONED BY (\n{}\n)\n\
         STORED AS PARQUET\nLOCATION {}\nTBLPROPERTIES (\n{}\n);\n",
        table.name,
        table.engine,
        table.source,
        table.version,
        quoted(table.name.as_str()),
        columns.collect::<Vec<_>>().join(",\n"),
        partitioned_by.collect::<Vec<_>>().join(",\n"),
        text(&folder),
        properties.join(",\n"),
    )
}

/// How Athena counts through the values of a partition column.
fn projection(column: PartitionColumn, width: ChunkWidth) -> Vec<String> {
    let width_mins = width.as_mins();
    let (range, interval) = match column {
        PartitionColumn::Year => (YEARS.to_owned(), 1),
        PartitionColumn::Month => ("1,12".to_owned(), 1),
        PartitionColumn::Day => ("1,31".to_owned(), 1),
        PartitionColumn::Hour => steps(24, if width_mins.is_multiple_of(60) { width_mins / 60 } else { 1 }),
        PartitionColumn::TenMins => steps(60, 10),
        PartitionColumn::Minute => steps(60, if 60_u16.is_multiple_of(width_mins) { width_mins } else { 1 }),
    };
    let digits = if column == PartitionColumn::Year { 4 } else { 2 };
    let setting = |name: &str, value: &str| property(&format!("projection.{}.{name}", column.name()), value);
    vec![
        setting("type", "integer"),
        setting("range", &range),
        setting("interval", &interval.to_string()),
        setting("digits", &digits.to_string()),
    ]
}

/// The range from 0 to the last multiple of `interval` below `end`.
fn steps(end: u16, interval: u16) -> (String, u16) {
    (format!("0,{}", (end - 1) / interval * interval), interval)
}

fn hive_type(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int64 => "bigint",
        DataType::Float64 => "double",
        DataType::Timestamp(..) => "timestamp",
        _ => "string",
    }
}

fn property(name: &str, value: &str) -> String {
    format!("  {} = {}", text(name), text(value))
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::sql::sqlparser::ast::{CreateTable, CreateTableOptions, Expr, SqlOption, Statement, Value};
    use datafusion::sql::sqlparser::dialect::HiveDialect;
    use datafusion::sql::sqlparser::parser::Parser;
    use neartime_engine::OnlineLayout;
    use neartime_model::Span;

    use super::*;
    use crate::testing;

    fn parsed(width: ChunkWidth, location: &str) -> CreateTable {
        let table = FeatureTable { width, ..testing::table("user_num_posts", OnlineLayout::PerChunk) };
        let mut statements = Parser::parse_sql(&HiveDialect {}, &ddl(&table, location)).unwrap();
        match statements.remove(0) {
            Statement::CreateTable(create) => create,
            other => panic!("no table: {other}"),
        }
    }

    fn properties(create: &CreateTable) -> BTreeMap<String, String> {
        let CreateTableOptions::TableProperties(options) = &create.table_options else { panic!("no properties") };
        let plain = |option: &SqlOption| match option {
            SqlOption::KeyValue { key, value: Expr::Value(value) } => match &value.value {
                Value::SingleQuotedString(value) => (key.value.clone(), value.clone()),
                other => panic!("{other}"),
            },
            other => panic!("{other}"),
        };
        options.iter().map(plain).collect()
    }

    #[test]
    fn it_parses_and_says_what_lies_where() {
        let create = parsed(ChunkWidth::TEN_MINUTES, "s3://bucket/it's/");
        assert!(create.external && create.if_not_exists);
        assert_eq!(create.name.to_string(), "`features_store`.`user_num_posts`");
        let columns: Vec<String> = create.columns.iter().map(ToString::to_string).collect();
        assert_eq!(columns, ["`id` STRING", "`country` STRING", "`actions_count` BIGINT"]);
        let properties = properties(&create);
        assert_eq!(properties["projection.enabled"], "true");
        assert_eq!(
            properties["storage.location.template"],
            "s3://bucket/it's/user_num_posts/year=${year}/month=${month}/day=${day}/hour=${hour}/ten_mins=${ten_mins}/"
        );
        let ten_mins = |name: &str| properties[&format!("projection.ten_mins.{name}")].as_str();
        assert_eq!(["type", "range", "interval", "digits"].map(ten_mins), ["integer", "0,50", "10", "2"]);
    }

    #[test]
    fn the_counting_follows_the_width() {
        let mins = |mins| ChunkWidth::new(Span::from_mins(mins)).unwrap();
        let cases = [
            (ChunkWidth::DAY, "day", "1,31", "1"),
            (mins(360), "hour", "0,18", "6"),
            (ChunkWidth::HOUR, "hour", "0,23", "1"),
            (mins(90), "hour", "0,23", "1"),
            (mins(90), "minute", "0,59", "1"),
            (mins(15), "minute", "0,45", "15"),
            (mins(6), "minute", "0,54", "6"),
        ];
        for (width, column, range, interval) in cases {
            let properties = properties(&parsed(width, "s3://b/p"));
            let finest = PartitionColumn::of_width(width).last().unwrap().name();
            let template = &properties["storage.location.template"];
            assert!(template.ends_with(&format!("/{finest}=${{{finest}}}/")), "{template}");
            assert_eq!(properties[&format!("projection.{column}.range")], range, "{width}");
            assert_eq!(properties[&format!("projection.{column}.interval")], interval, "{width}");
        }
    }
}
