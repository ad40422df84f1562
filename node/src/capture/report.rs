//! What a finished capture says of itself.

use std::fmt;

/// The books of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortReport {
    /// The interface's name in the file.
    pub name: String,
    /// Frames that crossed the port.
    pub seen: u64,
    /// Those of them that are in the file.
    pub written: u64,
}

/// What is in a capture and what is missing from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where the capture went.
    pub destination: String,
    /// One for each port, in the order of the file's interfaces.
    pub ports: Vec<PortReport>,
    /// Why frames are missing, if writing failed.
    pub error: Option<String>,
    /// Whether the file was closed in time. If not, the counts are those of that moment.
    pub finished: bool,
}

impl Report {
    /// A report without counts of a capture that was not closed.
    pub(super) fn unfinished(destination: &str, ports: &[String]) -> Self {
        let ports = ports.iter().map(|name| PortReport { name: name.clone(), seen: 0, written: 0 });
        Self { destination: destination.to_owned(), ports: ports.collect(), error: None, finished: false }
    }

    /// Frames in the file; one that crossed two ports is there twice.
    pub fn written(&self) -> u64 {
        self.ports.iter().map(|port| port.written).sum()
    }

    /// Frames that could not be captured.
    pub fn missing(&self) -> u64 {
        self.ports.iter().map(|port| port.seen.saturating_sub(port.written)).sum()
    }

    /// Whether every frame is in a file that was closed properly.
    pub fn is_complete(&self) -> bool {
        self.missing() == 0 && self.error.is_none() && self.finished
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "capture {}: {} packets", self.destination, self.written())?;
        let missing = self.missing();
        if missing > 0 {
            write!(f, ", {missing} more are missing from it")?;
        }
        match &self.error {
            Some(error) => write!(f, " ({error})")?,
            None if missing > 0 && self.finished => {
                f.write_str(" (they came faster than they could be written)")?
            }
            None => {}
        }
        if !self.finished {
            f.write_str("; it could not be closed in time")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_report(seen: u64, written: u64) -> Report {
        Report {
            destination: "/tmp/x.pcapng".into(),
            ports: vec![PortReport { name: "rank0-guest".into(), seen, written }],
            error: None,
            finished: true,
        }
    }

    #[test]
    fn says_what_is_missing_and_why() {
        assert_eq!(a_report(7, 7).to_string(), "capture /tmp/x.pcapng: 7 packets");
        assert_eq!(
            a_report(7, 5).to_string(),
            "capture /tmp/x.pcapng: 5 packets, 2 more are missing from it (they came faster than they could be written)"
        );
        let full = Report { error: Some("No space left on device".into()), ..a_report(7, 5) };
        assert_eq!(
            full.to_string(),
            "capture /tmp/x.pcapng: 5 packets, 2 more are missing from it (No space left on device)"
        );
        let stuck = Report { finished: false, ..a_report(7, 5) };
        assert_eq!(
            stuck.to_string(),
            "capture /tmp/x.pcapng: 5 packets, 2 more are missing from it; it could not be closed in time"
        );
    }

    #[test]
    fn is_complete_only_with_every_frame() {
        assert!(a_report(7, 7).is_complete());
        assert!(!a_report(7, 6).is_complete());
        assert!(!Report { finished: false, ..a_report(7, 7) }.is_complete());
    }
}
