//! An index as a bar that diverges from 100, on a logarithmic scale.

/// Cells on each side of the middle.
const HALF: usize = 12;

/// The index at the end of the scale, as doublings of 100: 800 on the right, 12.5 on the left.
const DOUBLINGS: f64 = 3.0;

/// What a bar's colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Significantly more than expected: blue.
    Over,
    /// Significantly less: red.
    Under,
    /// Not significant: grey.
    Unsure,
}

/// An index drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Always as wide, 25 cells: what is under 100 left of the middle line, what is over it right of it.
    pub text: String,
    /// What its colour says.
    pub tone: Tone,
}

impl Bar {
    /// Draws an index; a suppressed one has an empty bar.
    pub fn new(index: Option<f64>, significant: Option<bool>) -> Self {
        let doublings = index.map_or(0.0, |index| (index / 100.0).log2().clamp(-DOUBLINGS, DOUBLINGS));
        let eighths = (doublings.abs() / DOUBLINGS * (HALF * 8) as f64).round() as usize;
        let (left, right) =
            if doublings < 0.0 { (leftwards(eighths), String::new()) } else { (String::new(), rightwards(eighths)) };
        let tone = match significant {
            Some(true) if doublings < 0.0 => Tone::Under,
            Some(true) => Tone::Over,
            _ => Tone::Unsure,
        };
        let pad = |filled: &str| " ".repeat(HALF - filled.chars().count());
        Self { text: format!("{}{left}│{right}{}", pad(&left), pad(&right)), tone }
    }

    /// The bar with the terminal's colours.
    pub fn coloured(&self) -> String {
        let code = match self.tone {
            Tone::Over => "34",
            Tone::Under => "31",
            Tone::Unsure => "90",
        };
        format!("\u{1b}[{code}m{}\u{1b}[0m", self.text)
    }
}

fn rightwards(eighths: usize) -> String {
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{rest}", "█".repeat(eighths / 8))
}

/// There are no left-growing eighths but the half.
fn leftwards(eighths: usize) -> String {
    let halves = (eighths + 2) / 4;
    format!("{}{}", if halves % 2 == 1 { "▐" } else { "" }, "█".repeat(halves / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(index: f64) -> String {
        Bar::new(Some(index), Some(true)).text
    }

    #[test]
    fn twice_and_half_are_as_far_from_the_middle() {
        assert_eq!(text(200.0), "            │████        ");
        assert_eq!(text(50.0), "        ████│            ");
        assert_eq!(text(100.0), "            │            ");
        assert_eq!(text(0.0), "████████████│            ");
        assert_eq!(text(1e9), "            │████████████");
    }

    #[test]
    fn every_bar_is_as_wide() {
        for index in 0..1_000 {
            assert_eq!(text(f64::from(index)).chars().count(), 25, "{index}");
        }
    }

    #[test]
    fn the_colour_says_what_can_be_relied_on() {
        let tone = |index, significant| Bar::new(index, significant).tone;
        assert_eq!(tone(Some(150.0), Some(true)), Tone::Over);
        assert_eq!(tone(Some(50.0), Some(true)), Tone::Under);
        assert_eq!(tone(Some(150.0), Some(false)), Tone::Unsure);
        assert_eq!(tone(None, None), Tone::Unsure);
        assert!(Bar::new(Some(50.0), Some(true)).coloured().starts_with("\u{1b}[31m"));
    }
}
