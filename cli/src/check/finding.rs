//! What a check of a running cluster says, and how it looks to people.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// There is nothing to be looked at, or it was not asked for.
    NotChecked,
    /// Works, but something should be seen to.
    Warning,
    /// Does not work.
    Failed,
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check's name; names stay the same from version to version.
    pub(super) check: &'static str,
    /// The guest that it is about, if it is about one.
    pub(super) guest: Option<String>,
    /// The other end, for a check between two guests.
    pub(super) peer: Option<String>,
    /// How bad it is.
    pub(super) status: Status,
    /// What was seen.
    pub(super) seen: String,
    /// What to do about it.
    pub(super) mend: Option<String>,
}

/// At most so many lines of one check are shown; JSON has all.
const SHOWN: usize = 8;
/// Columns of the status and of the check's name.
const STATUS: usize = 13;
const CHECK: usize = 12;

impl Status {
    const fn shown(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotChecked => "not checked",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
        }
    }
}

impl Finding {
    /// About the cluster as a whole.
    pub(super) fn of_all(check: &'static str, status: Status, seen: impl Into<String>) -> Self {
        Self { check, guest: None, peer: None, status, seen: seen.into(), mend: None }
    }

    /// About one guest.
    pub(super) fn of(check: &'static str, guest: &str, status: Status, seen: impl Into<String>) -> Self {
        Self { guest: Some(guest.to_owned()), ..Self::of_all(check, status, seen) }
    }

    /// About the way from one guest to another.
    pub(super) fn between(
        check: &'static str,
        (guest, peer): (&str, &str),
        status: Status,
        seen: impl Into<String>,
    ) -> Self {
        Self { peer: Some(peer.to_owned()), ..Self::of(check, guest, status, seen) }
    }

    /// With what to do about it.
    pub(super) fn mended_by(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }

    fn line(&self) -> String {
        let Self { check, guest, peer, status, seen, mend } = self;
        let place = match (guest, peer) {
            (Some(guest), Some(peer)) => format!("{guest} → {peer}: "),
            (Some(guest), None) => format!("{guest}: "),
            _ => String::new(),
        };
        let mut line = format!("{:STATUS$}{check:CHECK$}{place}", status.shown());
        let indent = " ".repeat(STATUS + CHECK);
        line.push_str(&seen.lines().collect::<Vec<_>>().join(&format!("\n{indent}  ")));
        line.push('\n');
        if let Some(mend) = mend {
            line.push_str(&format!("{indent}{mend}\n"));
        }
        line
    }
}

/// All of it for people, and what it comes to.
pub(super) fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for group in findings.chunk_by(|one, other| (one.check, one.status) == (other.check, other.status)) {
        group.iter().take(SHOWN).for_each(|finding| text.push_str(&finding.line()));
        if group.len() > SHOWN {
            let indent = " ".repeat(STATUS + CHECK);
            text.push_str(&format!("{indent}… and {} more (--json shows all)\n", group.len() - SHOWN));
        }
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let warnings = count(Status::Warning);
    text.push_str(&format!(
        "{} ok, {warnings} warning{}, {} failed, {} not checked\n",
        count(Status::Ok),
        if warnings == 1 { "" } else { "s" },
        count(Status::Failed),
        count(Status::NotChecked)
    ));
    text
}

/// All of it for programs: one list, a finding on each line.
pub(super) fn listed(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(|finding| serde_json::json!(finding).to_string()).collect();
    if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", lines.join(",\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_line_for_each_finding_and_what_to_do_below() {
        let findings = [
            Finding::of_all("names", Status::Ok, "all 2"),
            Finding::between("ssh-user", ("n0000", "n0001"), Status::Failed, "denied\nreally")
                .mended_by("do this"),
            Finding::of("cloud-init", "n0001", Status::Warning, "degraded"),
            Finding::of_all("mpi", Status::NotChecked, "none there"),
        ];
        let expected = "\
ok           names       all 2
FAILED       ssh-user    n0000 → n0001: denied
                           really
                         do this
warning      cloud-init  n0001: degraded
not checked  mpi         none there
1 ok, 1 warning, 1 failed, 1 not checked
";
        assert_eq!(report(&findings), expected);
        let read: serde_json::Value = serde_json::from_str(&listed(&findings)).unwrap();
        assert_eq!(read[1]["peer"], "n0001");
        assert_eq!(read[3]["status"], "not-checked");
        assert_eq!(listed(&[]), "[]\n");
    }

    #[test]
    fn many_of_a_kind_are_cut_short_for_people_only() {
        let findings: Vec<Finding> =
            (0..20).map(|_| Finding::of("ssh-root", "n0000", Status::Failed, "no")).collect();
        let text = report(&findings);
        assert!(text.contains("… and 12 more") && text.lines().count() == 10, "{text}");
        assert_eq!(listed(&findings).lines().count(), 22);
    }
}
