//! What people see while guests boot: how many are up, how long it has taken, who is behind.
//!
//! [`Status::line`] makes the text, [`Printer`] decides when it is shown: on a terminal one line that is
//! rewritten in place, otherwise a plain line on change, a few seconds apart at least. Both take the time from
//! their caller.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use mvpnet_qemu_driver::image::Size;

/// How far a rank is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Checking, making the seed, waiting for others.
    Preparing,
    /// Copying its disk images.
    CopyingImage {
        /// Bytes copied.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// qemu runs, the guest is not up.
    Booting,
    /// The guest is up.
    Ready,
    /// The guest has ended.
    Off,
    /// The guest cannot be had.
    Failed,
}

/// The job as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Since the job began.
    pub elapsed: Duration,
    /// By rank.
    pub ranks: Vec<Phase>,
}

/// At most so many ranks or ranges of ranks are named in one line.
const NAMED: usize = 6;

impl Status {
    /// A job of `world` ranks that begins.
    pub fn new(world: usize) -> Self {
        Self { elapsed: Duration::ZERO, ranks: vec![Phase::Preparing; world] }
    }

    /// The whole line: `booted 2 of 4, 00:12, copying images (3) [####------] 45 % of 2.0 GiB, waiting for 1`.
    pub fn line(&self) -> String {
        let mut line = format!("booted {} of {}, {}", self.booted(), self.ranks.len(), clock(self.elapsed));
        line.push_str(&self.details());
        line
    }

    /// Whether every guest is up, or has been.
    pub fn is_complete(&self) -> bool {
        self.booted() == self.ranks.len()
    }

    fn booted(&self) -> usize {
        self.ranks.iter().filter(|phase| matches!(phase, Phase::Ready | Phase::Off)).count()
    }

    fn details(&self) -> String {
        let mut text = String::new();
        let (done, total) = self.ranks.iter().fold((0u128, 0u128), |sum, phase| match phase {
            Phase::CopyingImage { done, total } => (sum.0 + u128::from(*done), sum.1 + u128::from(*total)),
            _ => sum,
        });
        let parts = [
            ("failed: ", self.which(|phase| phase == Phase::Failed)),
            ("preparing ", self.which(|phase| phase == Phase::Preparing)),
            ("waiting for ", self.which(|phase| phase == Phase::Booting)),
            ("off: ", self.which(|phase| phase == Phase::Off)),
        ];
        let copying = self.which(|phase| matches!(phase, Phase::CopyingImage { .. }));
        if !copying.is_empty() {
            let fit = |bytes: u128| u64::try_from(bytes).unwrap_or(u64::MAX);
            let bar = bar(fit(done), fit(total), self.elapsed);
            let _ = write!(text, ", copying images ({}) {bar}", list(&copying));
        }
        // When all ranks do the same there is nothing to tell them apart by.
        for (what, ranks) in parts.iter().filter(|(_, ranks)| !ranks.is_empty()) {
            if ranks.len() == self.ranks.len() {
                let _ = write!(text, ", {}all", what);
            } else {
                let _ = write!(text, ", {what}{}", list(ranks));
            }
        }
        text
    }

    fn which(&self, wanted: impl Fn(Phase) -> bool) -> Vec<usize> {
        let ranks = self.ranks.iter().enumerate();
        ranks.filter(|(_, phase)| wanted(**phase)).map(|(rank, _)| rank).collect()
    }
}

/// `[####------] 45 % of 4.0 GiB, 00:18 left`: how much of some bytes is done, `elapsed` after the beginning.
pub(crate) fn bar(done: u64, total: u64, elapsed: Duration) -> String {
    const TENTHS: usize = 10;
    let share = if total == 0 { 0.0 } else { done.min(total) as f64 / total as f64 };
    let full = (share * TENTHS as f64) as usize;
    let mut text = format!(
        "[{}{}] {} % of {}",
        "#".repeat(full),
        "-".repeat(TENTHS - full),
        (share * 100.0) as u32,
        Size(total)
    );
    // What the first moments promise is worth nothing.
    if share > 0.02 && share < 1.0 && elapsed >= Duration::from_secs(2) {
        let _ = write!(text, ", {} left", clock(elapsed.mul_f64(1.0 / share - 1.0)));
    }
    text
}

/// `1, 3-5 and 12 more` of ascending ranks.
fn list(ranks: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &rank in ranks {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => ranges.push((rank, rank)),
        }
    }
    let name = |(first, last): &(usize, usize)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    };
    let mut text = ranges.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ");
    let more: usize = ranges.iter().skip(NAMED).map(|(first, last)| last - first + 1).sum();
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// `MM:SS`, or `H:MM:SS`.
pub(crate) fn clock(elapsed: Duration) -> String {
    let (minutes, seconds) = (elapsed.as_secs() / 60, elapsed.as_secs() % 60);
    match minutes / 60 {
        0 => format!("{minutes:02}:{seconds:02}"),
        hours => format!("{hours}:{:02}:{seconds:02}", minutes % 60),
    }
}

/// A rewritten line is shown at most this often.
const REWRITE: Duration = Duration::from_millis(100);
/// A plain line is shown at most this often, but for the last one.
const PLAIN: Duration = Duration::from_secs(5);

/// Shows progress on standard error.
#[derive(Debug)]
pub struct Printer<W: Write> {
    out: W,
    /// The terminal's width in columns; none: not a terminal.
    columns: Option<usize>,
    /// What is shown, without its time, and when it was.
    shown: Option<(String, Duration)>,
    /// A rewritten line stands on the terminal.
    open: bool,
}

impl Printer<io::Stderr> {
    /// On standard error, as that is: a terminal or not.
    pub fn stderr() -> Self {
        use std::io::IsTerminal;
        let err = io::stderr();
        let columns = err
            .is_terminal()
            .then(|| std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(80));
        Self::new(err, columns)
    }
}

impl<W: Write> Printer<W> {
    /// On `out`; with `columns` it is a terminal of that width.
    pub fn new(out: W, columns: Option<usize>) -> Self {
        Self { out, columns, shown: None, open: false }
    }

    /// Shows `status` if it is time to. To be called on every change and about once a second.
    pub fn update(&mut self, status: &Status) {
        let details = format!("{}{}", status.booted(), status.details());
        let since = self.shown.as_ref().map(|(_, at)| status.elapsed.saturating_sub(*at));
        let changed = self.shown.as_ref().is_none_or(|(shown, _)| *shown != details);
        let due = |least| since.is_none_or(|since| since >= least) || (changed && status.is_complete());
        let line = match self.columns {
            // One column stays free, or some terminals wrap.
            Some(columns) if due(REWRITE) => format!("\r\x1b[K{}", cut(status.line(), columns.max(2) - 1)),
            None if changed && due(PLAIN) => format!("mvpnet: {}\n", status.line()),
            _ => return,
        };
        self.open = self.columns.is_some();
        self.shown = Some((details, status.elapsed));
        self.write(&line);
    }

    /// Shows how far something is that takes long and comes before the job: `what` it is, and its [`bar`].
    pub(crate) fn work(&mut self, what: &str, bar: &str, elapsed: Duration) {
        let since = self.shown.as_ref().map(|(_, at)| elapsed.saturating_sub(*at));
        let due = |least| since.is_none_or(|since| since >= least);
        let line = match self.columns {
            Some(columns) if due(REWRITE) => {
                format!("\r\x1b[K{}", cut(format!("{what} {bar}"), columns.max(2) - 1))
            }
            None if due(PLAIN) => format!("mvpnet: {what} {bar}\n"),
            _ => return,
        };
        self.open = self.columns.is_some();
        self.shown = Some((String::new(), elapsed));
        self.write(&line);
    }

    /// Shows a message on a line of its own; progress comes back with the next update.
    pub fn message(&mut self, text: &str) {
        let wipe = if self.open { "\r\x1b[K" } else { "" };
        self.open = false;
        self.write(&format!("{wipe}{text}\n"));
    }

    /// Ends the progress: what was shown last stays.
    pub fn finish(&mut self) {
        if std::mem::take(&mut self.open) {
            self.write("\n");
        }
    }

    /// Progress is for people: that nobody can read it is no error.
    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

fn cut(line: String, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line;
    }
    line.chars().take(columns - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use Phase::{Booting, CopyingImage, Failed, Off, Preparing, Ready};

    use super::*;

    fn status(seconds: u64, ranks: &[Phase]) -> Status {
        Status { elapsed: Duration::from_secs(seconds), ranks: ranks.to_vec() }
    }

    fn printed(printer: Printer<Vec<u8>>) -> String {
        String::from_utf8(printer.out).unwrap()
    }

    #[test]
    fn a_line_says_who_is_behind_and_with_what() {
        let half = CopyingImage { done: 45, total: 100 };
        for (seconds, ranks, line) in [
            (0, vec![Preparing; 4], "booted 0 of 4, 00:00, preparing all"),
            (12, vec![Ready, Booting, Ready, Booting], "booted 2 of 4, 00:12, waiting for 1, 3"),
            (
                75,
                vec![Ready, half, Booting],
                "booted 1 of 3, 01:15, copying images (1) [####------] 45 % of 100 bytes, 01:31 left, waiting for 2",
            ),
            (3661, vec![Ready, Off], "booted 2 of 2, 1:01:01, off: 1"),
            (9, vec![Ready, Failed], "booted 1 of 2, 00:09, failed: 1"),
            (9, vec![Booting], "booted 0 of 1, 00:09, waiting for all"),
            (
                9,
                vec![CopyingImage { done: 0, total: 0 }],
                "booted 0 of 1, 00:09, copying images (0) [----------] 0 % of 0 bytes",
            ),
        ] {
            assert_eq!(status(seconds, &ranks).line(), line);
        }
    }

    #[test]
    fn a_bar_says_how_much_of_what_and_how_long_it_takes_when_that_can_be_known() {
        let seconds = Duration::from_secs;
        assert_eq!(bar(1 << 30, 4 << 30, seconds(10)), "[##--------] 25 % of 4.0 GiB, 00:30 left");
        assert_eq!(bar(1 << 30, 4 << 30, seconds(1)), "[##--------] 25 % of 4.0 GiB");
        assert_eq!(bar(1, 4 << 30, seconds(9)), "[----------] 0 % of 4.0 GiB");
        assert_eq!(bar(2048, 2048, seconds(9)), "[##########] 100 % of 2.0 KiB");
        assert_eq!(bar(9, 2, seconds(9)), "[##########] 100 % of 2 bytes");
    }

    #[test]
    fn long_work_is_shown_on_a_terminal_and_now_and_then_in_a_file() {
        let mut printers = [Printer::new(Vec::new(), Some(12)), Printer::new(Vec::new(), None)];
        for printer in &mut printers {
            for second in 2..8 {
                printer.work("reading", "[#]", Duration::from_secs(second));
            }
            printer.finish();
        }
        let [terminal, file] = printers.map(printed);
        assert!(terminal.ends_with("\r\x1b[Kreading [#]\n") && terminal.matches("reading").count() == 6);
        assert_eq!(file, "mvpnet: reading [#]\nmvpnet: reading [#]\n");
    }

    #[test]
    fn many_ranks_are_named_as_ranges_and_not_without_end() {
        assert_eq!(list(&[1, 2, 3, 7, 9, 10]), "1-3, 7, 9, 10");
        let even: Vec<_> = (0..40).step_by(2).collect();
        assert_eq!(list(&even), "0, 2, 4, 6, 8, 10 and 14 more");
    }

    #[test]
    fn a_terminal_shows_one_line_that_is_rewritten() {
        let mut printer = Printer::new(Vec::new(), Some(30));
        printer.update(&status(1, &[Booting, Ready]));
        printer.message("hello");
        printer.update(&status(2, &[Ready, Ready]));
        printer.finish();
        assert_eq!(
            printed(printer),
            "\r\x1b[Kbooted 1 of 2, 00:01, waitin…\r\x1b[Khello\n\r\x1b[Kbooted 2 of 2, 00:02\n"
        );
    }

    #[test]
    fn a_file_gets_lines_on_change_only_and_not_too_many() {
        let mut printer = Printer::new(Vec::new(), None);
        for second in 0..20 {
            let ready = if second < 4 { Booting } else { Ready };
            printer.update(&status(second, &[ready, Booting]));
        }
        printer.update(&status(20, &[Ready, Ready]));
        printer.update(&status(21, &[Ready, Ready]));
        printer.finish();
        assert_eq!(
            printed(printer),
            "mvpnet: booted 0 of 2, 00:00, waiting for all\n\
             mvpnet: booted 1 of 2, 00:05, waiting for 1\n\
             mvpnet: booted 2 of 2, 00:20\n"
        );
    }

    #[test]
    fn the_last_guest_is_said_at_once() {
        let mut printer = Printer::new(Vec::new(), None);
        printer.update(&status(0, &[Booting]));
        printer.update(&status(1, &[Ready]));
        assert!(printed(printer).ends_with("booted 1 of 1, 00:01\n"));
    }
}
