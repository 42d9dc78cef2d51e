//! Amounts of memory, as `512MB`.

use std::fmt;
use std::str::FromStr;

/// Bytes. Units are decimal (`kB`, `MB`, `GB`) or binary (`KiB`, `MiB`, `GiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size: write a whole number and a unit, as 512MB, 2GB or 1GiB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "b" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(wrong()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (factor, unit) in [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")] {
            if self.0 >= factor {
                let whole = self.0 as f64 / factor as f64;
                return if self.0.is_multiple_of(factor) {
                    write!(f, "{whole:.0} {unit}")
                } else {
                    write!(f, "{whole:.1} {unit}")
                };
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        assert_eq!("512MB".parse(), Ok(Size(512_000_000)));
        assert_eq!("1GiB".parse(), Ok(Size(1 << 30)));
        assert_eq!("64 kb".parse(), Ok(Size(64_000)));
        for wrong in ["", "512", "MB", "-1MB", "1.5GB", "99999999999GB"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert_eq!(Size(1_234_567).to_string(), "1.2 MB");
        assert_eq!(Size(2_000).to_string(), "2 kB");
        assert_eq!(Size(12).to_string(), "12 bytes");
    }
}
