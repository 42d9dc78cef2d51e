//! Rows as aligned columns, for people. Laid out once all rows are there, and paged if a terminal is too low for them.

use std::io::{self, IsTerminal as _, Write};

use comfy_table::{CellAlignment, Color, ContentArrangement, Table, TableComponent, presets};

use neartime_air::Tone;

use super::{Cell, RowWriter, pager, printable};

pub(super) struct TableWriter<W> {
    out: W,
    table: Table,
    rows: usize,
    paged: bool,
}

impl<W: Write> TableWriter<W> {
    pub(super) fn new(out: W, columns: &[&str], paged: bool) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(columns);
        table.set_style(TableComponent::HeaderLines, '─').set_style(TableComponent::MiddleHeaderIntersections, '─');
        // Wrapping would tear values apart: a terminal that is too narrow cuts the lines instead.
        table.set_content_arrangement(ContentArrangement::Disabled);
        Self { out, table, rows: 0, paged }
    }
}

impl<W: Write + Send> RowWriter for TableWriter<W> {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        let cell = |cell: &Cell| {
            let alignment = if cell.is_number() { CellAlignment::Right } else { CellAlignment::Left };
            let text = comfy_table::Cell::new(printable(&cell.to_string())).set_alignment(alignment);
            match cell {
                Cell::Bar(bar) => text.fg(colour(bar.tone)),
                _ => text,
            }
        };
        self.table.add_row(cells.iter().map(cell));
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let text = self.table.trim_fmt() + "\n";
        let terminal = if io::stdout().is_terminal() { crossterm::terminal::size().ok() } else { None };
        // Some terminals that programs make for programs are of no size.
        let Some((width, height)) = terminal.filter(|&(width, height)| width > 0 && height > 0) else {
            self.out.write_all(text.as_bytes())?;
            return self.out.flush();
        };
        if self.paged && text.lines().count() >= usize::from(height) && pager::show(&text)? {
            return Ok(());
        }
        let mut is_cut = false;
        for line in text.lines() {
            let shown = cut(line, usize::from(width));
            is_cut |= shown.len() < line.len();
            writeln!(self.out, "{shown}")?;
        }
        self.out.flush()?;
        if is_cut {
            eprintln!("wider than the terminal: --format csv or json has all of it, and `| less -S` scrolls");
        }
        Ok(())
    }
}

/// As much of a line as a terminal of this width shows; all of its colours, which take no room.
fn cut(line: &str, width: usize) -> String {
    let (mut shown, mut in_escape) = (0, false);
    let keep = |c: &char| {
        if in_escape || *c == '\u{1b}' {
            in_escape = !c.is_ascii_alphabetic();
            return true;
        }
        shown += 1;
        shown <= width
    };
    line.chars().filter(keep).collect()
}

/// Shown on a terminal only.
fn colour(tone: Tone) -> Color {
    match tone {
        Tone::Over => Color::Blue,
        Tone::Under => Color::Red,
        Tone::Unsure => Color::DarkGrey,
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_line_is_cut_behind_what_fits_and_keeps_its_colours() {
        assert_eq!(cut("site  ████", 7), "site  █");
        assert_eq!(cut("ab\u{1b}[38;5;12mcdef\u{1b}[0m", 3), "ab\u{1b}[38;5;12mc\u{1b}[0m");
        assert_eq!(cut("fits", 4), "fits");
    }
}
