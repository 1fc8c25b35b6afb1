//! Columns of text under each other.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::output::Output;
use crate::telemetry::escape::one_line;

/// Space between two columns.
const GAP: usize = 2;

/// A text in a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A plain cell. Control characters are escaped: they would break the table, or worse.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { text: one_line(text.as_ref()).replace('\t', " "), style: Style::new() }
    }

    /// The same in a style.
    #[must_use]
    pub fn styled(mut self, style: Style) -> Self {
        self.style = style;
        self
    }
}

/// A table with a heading.
#[derive(Debug, Clone, PartialEq)]
pub struct Table<const COLUMNS: usize> {
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// An empty table.
    pub fn new(heading: [&str; COLUMNS]) -> Self {
        let bold = Style::new().bold();
        Self { rows: vec![heading.map(|text| Cell::new(text).styled(bold))] }
    }

    /// Adds a row.
    pub fn push(&mut self, row: [Cell; COLUMNS]) {
        self.rows.push(row);
    }

    /// The lines, without blanks at their ends.
    pub fn lines(&self, output: &Output) -> Vec<String> {
        let widths = self.widths();
        self.rows.iter().map(|row| line(row, &widths, output)).collect()
    }

    /// The columns that its longest line may take.
    pub fn width(&self) -> usize {
        self.widths().iter().sum::<usize>() + GAP * COLUMNS.saturating_sub(1)
    }

    fn widths(&self) -> [usize; COLUMNS] {
        std::array::from_fn(|column| {
            self.rows.iter().map(|row| row[column].text.width()).max().unwrap_or(0)
        })
    }
}

fn line(row: &[Cell], widths: &[usize], output: &Output) -> String {
    let mut line = String::new();
    let last = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |at| at + 1);
    for (index, (cell, width)) in row.iter().zip(widths).take(last).enumerate() {
        line.push_str(&output.styled(&cell.text, cell.style));
        if index + 1 < last {
            let padding = width - cell.text.width() + GAP;
            line.extend(std::iter::repeat_n(' ', padding));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_also_with_wide_characters() {
        let mut table = Table::new(["NAME", "STATE", "NOTE"]);
        table.push([Cell::new("模型"), Cell::new("ready"), Cell::new("")]);
        table.push([Cell::new("a\nb\u{1b}[2J"), Cell::new("parked"), Cell::new("x")]);
        assert_eq!(table.width(), 25);
        let lines = table.lines(&Output::new(true));
        assert_eq!(
            lines,
            ["NAME         STATE   NOTE", "模型         ready", "a\\nb\\x1b[2J  parked  x"]
        );
    }
}
