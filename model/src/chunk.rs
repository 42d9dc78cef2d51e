//! Chunks: the half-open intervals of time that work is cut into.

use std::fmt;
use std::str::FromStr;

use crate::{Instant, Span};

const MICROS_A_MINUTE: i64 = 60_000_000;
const MINUTES_A_DAY: i64 = 24 * 60;

/// How much time one chunk holds: whole minutes that divide a day (1 to 1440).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkWidth(u16);

/// A width that is not made of whole minutes, or does not divide a day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of {0} does not divide a day into whole minutes: try 6m, 10m, 15m, 1h or 1d")]
pub struct InvalidWidth(Span);

impl ChunkWidth {
    /// Ten minutes, the width of a source that names no other.
    pub const TEN_MINUTES: Self = Self(10);
    /// One hour.
    pub const HOUR: Self = Self(60);
    /// One day.
    pub const DAY: Self = Self(1440);

    /// Checks that `span` is made of whole minutes and divides a day.
    pub fn new(span: Span) -> Result<Self, InvalidWidth> {
        let micros = span.as_micros();
        let minutes = micros / MICROS_A_MINUTE;
        let whole = micros > 0 && micros % MICROS_A_MINUTE == 0;
        if whole && minutes <= MINUTES_A_DAY && MINUTES_A_DAY % minutes == 0 {
            Ok(Self(u16::try_from(minutes).expect("at most 1440")))
        } else {
            Err(InvalidWidth(span))
        }
    }

    /// Minutes, 1 to 1440.
    pub const fn as_mins(self) -> u16 {
        self.0
    }

    /// The width as a span.
    pub const fn span(self) -> Span {
        Span::from_mins(self.0 as i64)
    }

    /// The chunk that holds `instant`.
    pub fn chunk_of(self, instant: Instant) -> Chunk {
        let width = self.span().as_micros();
        let start = instant.as_micros().div_euclid(width).saturating_mul(width);
        Chunk { start: Instant::from_micros(start), width: self }
    }
}

impl fmt::Display for ChunkWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.span().fmt(f)
    }
}

impl FromStr for ChunkWidth {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let span: Span = text.parse().map_err(|error: crate::InvalidSpan| error.to_string())?;
        Self::new(span).map_err(|error| error.to_string())
    }
}

/// The half-open interval `[start, start + width)`.
///
/// The start is a whole multiple of the width since the epoch; as a width divides a day, chunks never straddle
/// midnight and the chunks of a day are the same every day.
///
/// ```
/// use neartime_model::{ChunkWidth, Span};
/// let chunk = ChunkWidth::TEN_MINUTES.chunk_of("2018-08-01T10:42:34Z".parse()?);
/// assert_eq!(chunk.start().to_string(), "2018-08-01T10:40:00Z");
/// assert_eq!(chunk.due(Span::from_mins(3)).to_string(), "2018-08-01T10:53:00Z");
/// # Ok::<(), neartime_model::InvalidInstant>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chunk {
    start: Instant,
    width: ChunkWidth,
}

impl Chunk {
    /// The first instant, `data_chunk`.
    pub const fn start(self) -> Instant {
        self.start
    }

    /// The first instant after the chunk.
    pub fn end(self) -> Instant {
        self.start + self.width.span()
    }

    /// How long the chunk is.
    pub const fn width(self) -> ChunkWidth {
        self.width
    }

    /// Whether `instant` lies in `[start, end)`.
    pub fn contains(self, instant: Instant) -> bool {
        self.start <= instant && instant < self.end()
    }

    /// When the chunk is to be processed: `end + delay`, the `ts_to_process` of the task table.
    pub fn due(self, delay: Span) -> Instant {
        self.end() + delay
    }

    /// The chunk after this one.
    pub fn next(self) -> Self {
        Self { start: self.end(), width: self.width }
    }
}
