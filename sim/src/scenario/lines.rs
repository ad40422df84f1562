//! A report as text: a table whose columns stand below each other, without those that say nothing.

use std::fmt;
use std::time::Duration;

use mvpnet_transports::link::format_duration;

use super::report::{Report, Row};

/// A column: its title, whether it is text, its cell of a row, and whether it is shown when it is all nought.
struct Column {
    title: &'static str,
    is_text: bool,
    cell: fn(&Row) -> String,
    always: bool,
}

const fn text(title: &'static str, cell: fn(&Row) -> String) -> Column {
    Column { title, is_text: true, cell, always: false }
}

const fn number(title: &'static str, cell: fn(&Row) -> String, always: bool) -> Column {
    Column { title, is_text: false, cell, always }
}

const COLUMNS: &[Column] = &[
    text("traffic", |row| row.kind.to_owned()),
    text("from", |row| row.from.clone()),
    text("to", |row| row.to.clone()),
    number("sent", |row| row.sent.to_string(), true),
    number("received", |row| row.received.to_string(), true),
    number("lost", |row| row.lost.to_string(), true),
    number("failed", |row| row.failed.to_string(), false),
    number("open", |row| row.open.to_string(), false),
    number("damaged", |row| row.damaged.to_string(), false),
    number("twice", |row| row.duplicates.to_string(), false),
    number("min", |row| row.times.map_or_else(String::new, |times| short_time(times.min)), false),
    number("avg", |row| row.times.map_or_else(String::new, |times| short_time(times.avg)), false),
    number("max", |row| row.times.map_or_else(String::new, |times| short_time(times.max)), false),
    number("rate", |row| row.bits_per_second.map_or_else(String::new, short_rate), false),
];

impl Report {
    /// The table of traffic, each line with its cells: the titles first. Whether a column is text comes with it.
    pub fn table(&self) -> Vec<Vec<(String, bool)>> {
        let says_something = |column: &&Column| {
            let nought = if column.is_text { "" } else { "0" };
            let says = |cell: String| !cell.is_empty() && cell != nought;
            column.always || self.rows.iter().any(|row| says((column.cell)(row)))
        };
        let columns: Vec<&Column> = COLUMNS.iter().filter(says_something).collect();
        let titles = columns.iter().map(|column| (column.title.to_owned(), column.is_text)).collect();
        let cells = |row| columns.iter().map(|column| ((column.cell)(row), column.is_text)).collect();
        std::iter::once(titles).chain(self.rows.iter().map(cells)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.scenario.is_empty() { "scenario" } else { &self.scenario };
        let ranks = if self.ranks == 1 { "rank" } else { "ranks" };
        let time = format_duration(self.simulated);
        writeln!(f, "{name}: {} {ranks}, seed {}, {time} of simulated time\n", self.ranks, self.seed)?;
        if !self.rows.is_empty() {
            write_table(f, &self.table())?;
            writeln!(f)?;
        }
        writeln!(f, "frames  {} sent, {} received", self.sent.frames, self.received.frames)?;
        let drops: Vec<String> =
            self.drops.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        writeln!(f, "drops   {}", if drops.is_empty() { "none".to_owned() } else { drops.join(", ") })?;
        if self.duplicated + self.corrupted > 0 {
            writeln!(f, "faults  {} duplicated, {} corrupted", self.duplicated, self.corrupted)?;
        }
        Ok(())
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, table: &[Vec<(String, bool)>]) -> fmt::Result {
    let widths: Vec<usize> = (0..table.first().map_or(0, Vec::len))
        .map(|column| table.iter().map(|row| row[column].0.chars().count()).max().unwrap_or(0))
        .collect();
    for row in table {
        let mut line = String::new();
        for ((cell, is_text), width) in row.iter().zip(&widths) {
            line += &if *is_text { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Three digits that count: `41.3us`.
pub(super) fn short_time(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "us")];
    match units.iter().find(|(unit, _)| nanos >= *unit) {
        Some((unit, name)) => format!("{}{name}", three_digits(nanos / unit)),
        None => format!("{}ns", time.as_nanos()),
    }
}

/// `9.41Mbit/s`.
pub(super) fn short_rate(bits_per_second: u64) -> String {
    let rate = bits_per_second as f64;
    let units = [(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")];
    match units.iter().find(|(unit, _)| rate >= *unit) {
        Some((unit, name)) => format!("{}{name}", three_digits(rate / unit)),
        None => format!("{bits_per_second}bit/s"),
    }
}

fn three_digits(number: f64) -> String {
    let decimals = if number < 9.995 { 2 } else { usize::from(number < 99.95) };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        for (nanos, text) in
            [(0, "0ns"), (999, "999ns"), (41_250, "41.2us"), (1_005_000, "1.00ms"), (99_950_000_000, "100s")]
        {
            assert_eq!(short_time(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(short_rate(9_412_345), "9.41Mbit/s");
        assert_eq!(short_rate(900), "900bit/s");
    }
}
