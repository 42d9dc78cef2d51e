//! Partitions: how a chunk becomes a folder of the features store, and back.

use std::fmt;

use chrono::{Datelike, Timelike};

use crate::{Chunk, ChunkWidth, Instant, Span};

/// One level of the partition path. Values are zero-padded decimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartitionColumn {
    /// Civil year, four digits or more.
    Year,
    /// 01 to 12.
    Month,
    /// 01 to 31.
    Day,
    /// 00 to 23.
    Hour,
    /// First minute of a ten-minute chunk, 00 to 50.
    TenMins,
    /// First minute of a chunk of any other width below an hour (or not of whole hours), 00 to 59.
    Minute,
}

impl PartitionColumn {
    /// The column's name: `year`, `month`, `day`, `hour`, `ten_mins` or `minute`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::TenMins => "ten_mins",
            Self::Minute => "minute",
        }
    }

    /// The columns of the partition path of chunks of `width`, coarsest first.
    ///
    /// `ten_mins` for ten minutes, nothing below `hour` for whole hours under a day, nothing below `day` for a day,
    /// `minute` for every other width.
    pub fn of_width(width: ChunkWidth) -> &'static [Self] {
        use PartitionColumn::{Day, Hour, Minute, Month, TenMins, Year};
        match width.as_mins() {
            1440 => &[Year, Month, Day],
            10 => &[Year, Month, Day, Hour, TenMins],
            mins if mins % 60 == 0 => &[Year, Month, Day, Hour],
            _ => &[Year, Month, Day, Hour, Minute],
        }
    }
}

/// The place of one chunk in a partitioned tree: `year=2018/month=08/day=01/hour=10/ten_mins=40`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    values: Vec<(PartitionColumn, String)>,
}

/// A path that is no partition path of its width, or a chunk beyond the civil calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is no partition of chunks of {width}")]
pub struct InvalidPartition {
    path: String,
    width: ChunkWidth,
}

impl Partition {
    /// The partition of `chunk`; an error only for years that the calendar cannot write (beyond about ±262,000).
    pub fn of(chunk: Chunk) -> Result<Self, InvalidPartition> {
        let start = chunk
            .start()
            .to_utc()
            .ok_or_else(|| InvalidPartition { path: chunk.start().to_string(), width: chunk.width() })?;
        let value = |column| match column {
            PartitionColumn::Year => format!("{:04}", start.year()),
            PartitionColumn::Month => format!("{:02}", start.month()),
            PartitionColumn::Day => format!("{:02}", start.day()),
            PartitionColumn::Hour => format!("{:02}", start.hour()),
            PartitionColumn::TenMins | PartitionColumn::Minute => format!("{:02}", start.minute()),
        };
        let columns = PartitionColumn::of_width(chunk.width());
        Ok(Self { values: columns.iter().map(|&column| (column, value(column))).collect() })
    }

    /// Reads a path back: the chunk whose partition it is.
    pub fn parse(path: &str, width: ChunkWidth) -> Result<Chunk, InvalidPartition> {
        Self::parse_chunk(path, width)
            // Only the one spelling counts, so that two folders can never mean one chunk.
            .filter(|&chunk| Self::of(chunk).is_ok_and(|partition| partition.to_string() == path))
            .ok_or_else(|| InvalidPartition { path: path.to_owned(), width })
    }

    fn parse_chunk(path: &str, width: ChunkWidth) -> Option<Chunk> {
        let (mut year, mut month, mut day, mut minutes) = (None, 1, 1, 0);
        let mut parts = path.split('/');
        for column in PartitionColumn::of_width(width) {
            let text = parts.next()?.strip_prefix(column.name())?.strip_prefix('=')?;
            let number: i32 = text.parse().ok()?;
            match column {
                PartitionColumn::Year => year = Some(number),
                PartitionColumn::Month => month = u32::try_from(number).ok()?,
                PartitionColumn::Day => day = u32::try_from(number).ok()?,
                PartitionColumn::Hour => minutes += i64::from(number) * 60,
                PartitionColumn::TenMins | PartitionColumn::Minute => minutes += i64::from(number),
            }
        }
        if parts.next().is_some() {
            return None;
        }
        Some(width.chunk_of(Instant::from_ymd(year?, month, day)? + Span::from_mins(minutes)))
    }

    /// Columns and values, coarsest first.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (PartitionColumn, &str)> {
        self.values.iter().map(|(column, value)| (*column, value.as_str()))
    }
}

/// The path, without slashes at its ends.
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, (column, value)) in self.values.iter().enumerate() {
            let slash = if level == 0 { "" } else { "/" };
            write!(f, "{slash}{}={value}", column.name())?;
        }
        Ok(())
    }
}
