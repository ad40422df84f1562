//! Counting what arrived: per origin, which sequence numbers were lost, doubled or late.

/// How far back a late frame is told from a double one.
const WINDOW: u64 = 4096;

/// The frames of one origin.
#[derive(Debug, Clone)]
pub struct Tally {
    next: u64,
    seen: Box<[u64; (WINDOW / 64) as usize]>,
    /// Frames, doubles included.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sequence numbers that were passed over and have not come since.
    pub lost: u64,
    /// Frames that had come before, or so late that nobody can tell.
    pub doubled: u64,
    /// Frames that came after a later one.
    pub late: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            next: 0,
            seen: Box::new([0; (WINDOW / 64) as usize]),
            frames: 0,
            bytes: 0,
            lost: 0,
            doubled: 0,
            late: 0,
        }
    }
}

impl Tally {
    /// Counts one frame.
    #[inline]
    pub fn add(&mut self, seq: u64, len: usize) {
        self.frames += 1;
        self.bytes += len as u64;
        if seq == self.next {
            self.mark(seq, true);
            self.next = seq + 1;
        } else if seq > self.next {
            self.pass_over(seq);
        } else {
            self.look_back(seq);
        }
    }

    fn pass_over(&mut self, seq: u64) {
        self.lost += seq - self.next;
        // Numbers further back than the window have no bit.
        for passed in self.next.max(seq.saturating_sub(WINDOW))..seq {
            self.mark(passed, false);
        }
        self.mark(seq, true);
        self.next = seq.saturating_add(1);
    }

    fn look_back(&mut self, seq: u64) {
        let remembered = self.next - seq <= WINDOW;
        if remembered && !self.marked(seq) {
            self.mark(seq, true);
            self.late += 1;
            self.lost -= 1;
        } else {
            self.doubled += 1;
        }
    }

    #[inline]
    fn mark(&mut self, seq: u64, on: bool) {
        let at = seq % WINDOW;
        let word = &mut self.seen[(at / 64) as usize];
        let bit = 1 << (at % 64);
        *word = if on { *word | bit } else { *word & !bit };
    }

    fn marked(&self, seq: u64) -> bool {
        let at = seq % WINDOW;
        self.seen[(at / 64) as usize] & (1 << (at % 64)) != 0
    }

    /// The origin says that it sent `total` frames: what is missing at the end is lost too.
    pub fn close(&mut self, total: u64) {
        if total > self.next {
            self.lost += total - self.next;
            self.next = total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seqs: &[u64]) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        for &seq in seqs {
            tally.add(seq, 60);
        }
        (tally.lost, tally.doubled, tally.late)
    }

    #[test]
    fn an_unbroken_run_loses_nothing() {
        assert_eq!(after(&(0..10_000).collect::<Vec<_>>()), (0, 0, 0));
    }

    #[test]
    fn a_gap_is_lost() {
        assert_eq!(after(&[0, 1, 5]), (3, 0, 0));
    }

    #[test]
    fn a_late_frame_is_not_lost() {
        assert_eq!(after(&[0, 2, 1, 3]), (0, 0, 1));
    }

    #[test]
    fn a_double_frame_is_told_from_a_late_one() {
        assert_eq!(after(&[0, 1, 1, 3, 2, 2]), (0, 2, 1));
    }

    #[test]
    fn a_wide_gap_does_not_keep_old_marks() {
        assert_eq!(after(&[0, 1, 9000, 8999]), (8997, 0, 1));
    }

    #[test]
    fn the_end_of_a_run_can_be_missing() {
        let mut tally = Tally::default();
        tally.add(0, 60);
        tally.close(3);
        assert_eq!(tally.lost, 2);
    }
}
