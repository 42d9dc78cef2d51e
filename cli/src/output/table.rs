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
        if self.paged && io::stdout().is_terminal() && pager::show(&text)? {
            let is_cut = |width: u16| text.lines().any(|line| line.chars().count() > usize::from(width));
            if self.table.width().is_some_and(is_cut) {
                eprintln!("wider than the terminal: --format csv or json has all of it, and `| less -S` scrolls");
            }
            return Ok(());
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// Shown on a terminal only.
fn colour(tone: Tone) -> Color {
    match tone {
        Tone::Over => Color::Blue,
        Tone::Under => Color::Red,
        Tone::Unsure => Color::DarkGrey,
    }
}
