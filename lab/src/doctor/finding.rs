//! What a check says: well or not, what was seen, and the command that mends it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could, or not for everybody; or it could not be seen.
    Warning,
    /// Something that is asked for will not work.
    Failure,
}

/// What one check makes of its readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How bad it is.
    pub status: Status,
    /// What was seen, as half a sentence.
    pub seen: String,
    /// The command that mends it, to be typed on the host that the verdict is about.
    pub mend: Option<String>,
}

/// A line of the report: a verdict, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's name; names stay the same from version to version.
    pub check: String,
    /// The host that was looked at, and on which `mend` is to be typed.
    pub host: String,
    /// The other end, for a check between two hosts.
    #[serde(default)]
    pub peer: Option<String>,
    /// How bad it is.
    pub status: Status,
    /// What was seen.
    pub seen: String,
    /// The command that mends it.
    pub mend: Option<String>,
}

impl Status {
    /// `ok`, `warning` or `failure`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }

    /// The worst of what was found: fine if nothing was.
    pub fn worst(findings: &[Finding]) -> Self {
        findings.iter().map(|finding| finding.status).max().unwrap_or(Self::Ok)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Verdict {
    /// All is well.
    pub fn ok(seen: impl Into<String>) -> Self {
        Self { status: Status::Ok, seen: seen.into(), mend: None }
    }

    /// Not as good as it could be.
    pub fn warning(seen: impl Into<String>, mend: impl Into<Option<String>>) -> Self {
        Self { status: Status::Warning, seen: seen.into(), mend: mend.into() }
    }

    /// Something will not work.
    pub fn failure(seen: impl Into<String>, mend: impl Into<Option<String>>) -> Self {
        Self { status: Status::Failure, seen: seen.into(), mend: mend.into() }
    }

    /// The line of the report that it becomes.
    pub fn found(self, check: &str, host: &str, peer: Option<&str>) -> Finding {
        Finding {
            check: check.to_owned(),
            host: host.to_owned(),
            peer: peer.map(str::to_owned),
            status: self.status,
            seen: self.seen,
            mend: self.mend,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_line_decides() {
        let line = |status| Verdict { status, seen: String::new(), mend: None }.found("kvm", "h", None);
        assert_eq!(Status::worst(&[]), Status::Ok);
        assert_eq!(Status::worst(&[line(Status::Warning), line(Status::Ok)]), Status::Warning);
        assert_eq!(Status::worst(&[line(Status::Failure), line(Status::Warning)]), Status::Failure);
    }

    #[test]
    fn a_finding_keeps_its_keys() {
        let finding =
            Verdict::failure("taken", Some("kill 7".to_owned())).found("vxlan-port", "server2", None);
        let json = serde_json::to_value(&finding).unwrap();
        let expected = serde_json::json!({
            "check": "vxlan-port", "host": "server2", "peer": null, "status": "failure", "seen": "taken",
            "mend": "kill 7",
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), finding);
    }
}
