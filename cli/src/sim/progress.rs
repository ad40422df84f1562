//! How far a simulation is, for those that take more than a moment: simulated time beside real time. A bar on a
//! terminal, elsewhere a line now and then.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use mvpnet_switch::Instant;
use mvpnet_transports::link::format_duration;

use crate::progress::clock;

/// What is over sooner needs no progress.
const PATIENCE: Duration = Duration::from_secs(2);
/// A bar is drawn at most this often.
const REWRITE: Duration = Duration::from_millis(100);
/// A plain line is written at most this often.
const PLAIN: Duration = Duration::from_secs(5);
/// Characters of a bar.
const BAR: u64 = 30;

/// Shows it.
pub(super) struct Progress<W: Write> {
    out: W,
    is_terminal: bool,
    end: Duration,
    shown: Option<Duration>,
}

impl Progress<io::Stderr> {
    pub(super) fn stderr(end: Duration) -> Self {
        Self { out: io::stderr(), is_terminal: io::stderr().is_terminal(), end, shown: None }
    }
}

impl<W: Write> Progress<W> {
    /// Shows how far it is, if it is time to.
    pub(super) fn update(&mut self, now: Instant, elapsed: Duration) {
        let pause = if self.is_terminal { REWRITE } else { PLAIN };
        if elapsed < self.shown.map_or(PATIENCE, |shown| shown + pause) {
            return;
        }
        self.shown = Some(elapsed);
        let text = self.text(now, elapsed);
        self.write(&if self.is_terminal { format!("\r\x1b[K{text}") } else { format!("mvpnet: {text}\n") });
    }

    fn text(&self, now: Instant, elapsed: Duration) -> String {
        let simulated = now.saturating_since(Instant::ZERO);
        let share = |whole: u64| {
            let done = simulated.as_nanos() * u128::from(whole) / self.end.as_nanos().max(1);
            u64::try_from(done).unwrap_or(whole).min(whole)
        };
        let (done, percent) = (share(BAR), share(100));
        let bar = match self.is_terminal {
            true => format!("[{:-<width$}] ", "#".repeat(done as usize), width = BAR as usize),
            false => String::new(),
        };
        let (simulated, end) = (simulated.as_secs_f64(), format_duration(self.end));
        format!("{bar}{percent} %, {simulated:.3}s of {end} simulated, {} of real time", clock(elapsed))
    }

    /// It has come to its end: says how long that took, or only leaves the line.
    pub(super) fn finish(mut self, elapsed: Duration, succeeded: bool) {
        if self.is_terminal && self.shown.is_some() {
            self.write("\r\x1b[K");
        }
        if succeeded {
            let (end, seconds) = (format_duration(self.end), elapsed.as_secs_f64());
            self.write(&format!("mvpnet: {end} simulated in {seconds:.2}s of real time\n"));
        }
    }

    fn write(&mut self, text: &str) {
        // Nobody left to tell: nothing to be done about that.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(is_terminal: bool, updates: &[(u64, u64)]) -> String {
        let mut out = Vec::new();
        let mut progress = Progress { out: &mut out, is_terminal, end: Duration::from_secs(10), shown: None };
        for (simulated, real) in updates {
            let now = Instant::ZERO + Duration::from_millis(*simulated);
            progress.update(now, Duration::from_millis(*real));
        }
        progress.finish(Duration::from_millis(12_345), true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_over_soon_shows_nothing_but_its_end() {
        let end = "mvpnet: 10s simulated in 12.35s of real time\n";
        assert_eq!(shown(true, &[(1_000, 100), (2_000, 1_999)]), end);
        assert_eq!(shown(false, &[(1_000, 100), (2_000, 1_999)]), end);
    }

    #[test]
    fn a_terminal_has_a_bar() {
        let text = shown(true, &[(5_000, 2_000), (5_001, 2_050), (10_000, 62_000)]);
        assert_eq!(
            text,
            "\r\x1b[K[###############---------------] 50 %, 5.000s of 10s simulated, 00:02 of real time\
             \r\x1b[K[##############################] 100 %, 10.000s of 10s simulated, 01:02 of real time\
             \r\x1b[Kmvpnet: 10s simulated in 12.35s of real time\n"
        );
    }

    #[test]
    fn a_file_has_a_line_now_and_then() {
        let text = shown(false, &[(10, 2_000), (20, 6_999), (2_500, 7_000)]);
        assert_eq!(
            text,
            "mvpnet: 0 %, 0.010s of 10s simulated, 00:02 of real time\n\
             mvpnet: 25 %, 2.500s of 10s simulated, 00:07 of real time\n\
             mvpnet: 10s simulated in 12.35s of real time\n"
        );
    }
}
