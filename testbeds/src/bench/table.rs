//! Values, what they are compared with, and how they are printed.

use std::fmt::Write;

use serde::Serialize;

/// A mark that a value has to meet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// That much or more.
    AtLeast(f64),
    /// That much or less.
    AtMost(f64),
}

impl Target {
    /// Whether a value meets it.
    pub fn met(self, value: f64) -> bool {
        match self {
            Target::AtLeast(mark) => value >= mark,
            Target::AtMost(mark) => value <= mark,
        }
    }

    fn text(self) -> String {
        match self {
            Target::AtLeast(mark) => format!(">= {}", short(mark)),
            Target::AtMost(mark) => format!("<= {}", short(mark)),
        }
    }
}

/// One line of a table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured: `1514 B, one way`.
    pub case: String,
    /// On what: `mvpnet mpich`.
    pub carrier: String,
    /// The value of each repetition, in the table's unit.
    pub values: Vec<f64>,
    /// Their median.
    pub median: Option<f64>,
    /// Further columns, already written out.
    pub notes: Vec<String>,
    /// The median over that of the direct link.
    pub to_direct: Option<f64>,
    /// The median over that of the bare relay.
    pub to_relay: Option<f64>,
    /// What is compared with the target: one of the ratios, or the value itself.
    pub judged: Option<f64>,
    /// The mark.
    pub target: Option<Target>,
    /// Why there is no value.
    pub failure: Option<String>,
}

impl Row {
    /// A line of values without any comparison yet.
    pub fn new(case: impl Into<String>, carrier: impl ToString, values: Vec<f64>) -> Row {
        Row {
            case: case.into(),
            carrier: carrier.to_string(),
            median: median(&values),
            values,
            notes: Vec::new(),
            to_direct: None,
            to_relay: None,
            judged: None,
            target: None,
            failure: None,
        }
    }

    /// A line for what could not be measured.
    pub fn failed(case: &str, carrier: impl ToString, error: &anyhow::Error) -> Row {
        Row { failure: Some(format!("{error:#}")), ..Row::new(case, carrier, Vec::new()) }
    }

    /// The median is what has to meet the target.
    pub fn judge_value(&mut self, target: Target) {
        self.judged = self.median;
        self.target = Some(target);
    }

    /// How far the repetitions are from each other: half of their range, in % of the median.
    fn spread(&self) -> String {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self.median {
            Some(median) if self.values.len() > 1 && median > 0.0 => {
                format!("{:.0}", 50.0 * (high - low) / median)
            }
            _ => String::new(),
        }
    }

    /// Whether the target is met; `None` without one, or without a value.
    pub fn met(&self) -> Option<bool> {
        Some(self.target?.met(self.judged?))
    }
}

/// A part's results.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// What the page calls it.
    pub name: &'static str,
    /// What it is about.
    pub title: String,
    /// The unit of the values.
    pub unit: &'static str,
    /// The names of the further columns.
    pub columns: Vec<&'static str>,
    /// The lines.
    pub rows: Vec<Row>,
}

impl Table {
    /// A table without lines.
    pub fn new(
        name: &'static str,
        title: impl Into<String>,
        unit: &'static str,
        columns: &[&'static str],
    ) -> Table {
        Table { name, title: title.into(), unit, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// The cells that have anything in their column, titles first.
    fn lines(&self) -> Vec<Vec<String>> {
        let mut head = vec!["case", "carrier", self.unit, "+-%"];
        head.extend(&self.columns);
        head.extend(["/direct", "/relay", "target", ""]);
        let mut lines: Vec<Vec<String>> = vec![head.into_iter().map(str::to_owned).collect()];
        for row in &self.rows {
            let mut cells = vec![row.case.clone(), row.carrier.clone(), optional(row.median), row.spread()];
            cells.extend((0..self.columns.len()).map(|at| row.notes.get(at).cloned().unwrap_or_default()));
            cells.extend([ratio(row.to_direct), ratio(row.to_relay)]);
            cells.push(row.target.map(Target::text).unwrap_or_default());
            cells.push(match (row.met(), &row.failure) {
                (_, Some(_)) => "FAILED".to_owned(),
                (Some(true), None) => "ok".to_owned(),
                (Some(false), None) => format!("MISSED, {}", optional(row.judged)),
                (None, None) => String::new(),
            });
            lines.push(cells);
        }
        // Columns that nothing stands in are left out.
        let used: Vec<usize> =
            (0..lines[0].len()).filter(|&at| lines[1..].iter().any(|line| !line[at].is_empty())).collect();
        lines.into_iter().map(|line| used.iter().map(|&at| line[at].clone()).collect()).collect()
    }

    /// The table as a page has it (Markdown), without its title. How far repetitions were apart is for the terminal.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let lines = self.lines();
        let spread = lines.first().and_then(|head| head.iter().position(|title| title == "+-%"));
        for (number, line) in lines.iter().enumerate() {
            let cells = line.iter().enumerate().filter(|(at, _)| Some(*at) != spread);
            let cells: Vec<String> = cells.map(|(_, cell)| cell.replace('|', "\\|")).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|{}", " --- |".repeat(cells.len()));
            }
        }
        text
    }

    /// The table as text.
    pub fn text(&self) -> String {
        let lines = self.lines();
        let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
        let mut text = format!("\n{}\n", self.title);
        for line in &lines {
            let mut written = String::from(" ");
            for (at, cell) in line.iter().enumerate() {
                // Names to the left, numbers to the right.
                let width = width(at);
                let left = at < 2 || at + 1 == line.len();
                let _ = if left {
                    write!(written, " {cell:<width$}")
                } else {
                    write!(written, " {cell:>width$}")
                };
            }
            let _ = writeln!(text, "{}", written.trim_end());
        }
        let mut said: Vec<&str> = Vec::new();
        for row in &self.rows {
            // Several rows can come from one run.
            if let Some(failure) = row.failure.as_deref().filter(|failure| !said.contains(failure)) {
                let _ = writeln!(text, "  {}, {}: {failure}", row.case, row.carrier);
                said.push(failure);
            }
        }
        text
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().checked_sub(1)? as f64 / 2.0;
    Some((sorted[middle.floor() as usize] + sorted[middle.ceil() as usize]) / 2.0)
}

/// A number with three digits or so: `1.23 M`, `45.6 k`, `0.071`.
pub fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 || size == 0.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    // 3.00 says no more than 3.
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), short)
}

fn ratio(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.2}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [1_234_567.0, 45_600.0, 9999.0, 12.34, 3.0, 0.0712, 0.0].map(short);
        assert_eq!(texts, ["1.23 M", "45.6 k", "9999", "12.3", "3", "0.071", "0"]);
    }

    #[test]
    fn a_missed_target_is_said_and_empty_columns_are_left_out() {
        let mut table = Table::new("idle", "Idle", "% of a core", &["ranks"]);
        let mut row = Row::new("2 ranks", "mvpnet up", vec![0.6, 1.0, 0.8]);
        row.judge_value(Target::AtMost(0.5));
        table.rows.push(row);
        let text = table.text();
        assert!(text.contains("<= 0.5 MISSED, 0.8"), "{text}");
        assert!(text.contains("0.8  25 "), "{text}");
        assert!(!text.contains("/relay") && !text.contains("ranks ="), "{text}");
        let page = "| case | carrier | % of a core | target |  |\n| --- | --- | --- | --- | --- |\n\
                    | 2 ranks | mvpnet up | 0.8 | <= 0.5 | MISSED, 0.8 |\n";
        assert_eq!(table.markdown(), page);
    }
}
