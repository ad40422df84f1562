//! The last bytes of a log, kept in memory for the case of a crash: whole lines, at most so many bytes.

use std::collections::VecDeque;

/// A bounded tail of text lines.
#[derive(Debug, Default)]
pub(super) struct Recent {
    bytes: VecDeque<u8>,
    capacity: usize,
}

impl Recent {
    /// Keeps at most `capacity` bytes; memory is taken as lines come.
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity }
    }

    /// Adds a line, that ends in a newline; the oldest lines make room. Of a line longer than the whole
    /// capacity nothing is kept.
    pub(super) fn push(&mut self, line: &str) {
        if line.len() > self.capacity {
            self.bytes.clear();
            return;
        }
        while self.bytes.len() + line.len() > self.capacity {
            let first = self.bytes.iter().position(|byte| *byte == b'\n');
            let oldest = first.map_or(self.bytes.len(), |newline| newline + 1);
            self.bytes.drain(..oldest);
        }
        self.bytes.extend(line.as_bytes());
    }

    /// Takes all lines out.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn old_lines_make_room_for_new_ones() {
        let mut recent = Recent::new(10);
        for line in ["one\n", "two\n", "three\n"] {
            recent.push(line);
        }
        assert_eq!(recent.take(), b"two\nthree\n");
        assert_eq!(recent.take(), b"");
    }

    #[test]
    fn a_line_that_never_fits_is_not_kept_in_part() {
        let mut recent = Recent::new(4);
        recent.push("abc\n");
        recent.push("longer\n");
        assert_eq!(recent.take(), b"");
    }

    proptest! {
        #[test]
        fn it_keeps_whole_lines_within_its_capacity(
            capacity in 0usize..64,
            lines in proptest::collection::vec("[a-z]{0,20}\n", 0..20),
        ) {
            let mut recent = Recent::new(capacity);
            for line in &lines {
                recent.push(line);
            }
            let kept = String::from_utf8(recent.take()).unwrap();
            prop_assert!(kept.len() <= capacity);
            prop_assert!(lines.concat().ends_with(&kept));
            prop_assert!(kept.is_empty() || kept.ends_with('\n'));
        }
    }
}
