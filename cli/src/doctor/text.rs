//! A report for people: a block for each host, a line for each check, what mends it below.

use mvpnet_lab::doctor::{Finding, Status};

/// Columns of the status and of the check's name.
const STATUS: usize = 9;
const CHECK: usize = 12;

/// All of it.
pub(super) fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut host = None;
    for finding in findings {
        if host != Some(&finding.host) {
            text.push_str(&format!("{}:\n", finding.host));
            host = Some(&finding.host);
        }
        text.push_str(&line(finding));
    }
    text.push_str(&summary(findings));
    text
}

fn line(finding: &Finding) -> String {
    let Finding { check, status, seen, mend, .. } = finding;
    let mut line = format!("  {status:STATUS$}{check:CHECK$}{seen}\n");
    if let Some(mend) = mend {
        // Alone on its line, to be taken as it is.
        line.push_str(&format!("{:width$}{mend}\n", "", width = 2 + STATUS + CHECK));
    }
    line
}

/// `18 ok, 1 warning, 2 failures`
fn summary(findings: &[Finding]) -> String {
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (warnings, failures) = (count(Status::Warning), count(Status::Failure));
    format!("{} ok, {}, {}\n", count(Status::Ok), many(warnings, "warning"), many(failures, "failure"))
}

#[cfg(test)]
mod tests {
    use mvpnet_lab::doctor::Verdict;

    use super::*;

    #[test]
    fn a_report_has_a_block_for_each_host_and_commands_on_lines_of_their_own() {
        let findings = [
            Verdict::ok("well").found("kvm", "server1", None),
            Verdict::failure("taken", Some("kill 7".to_owned())).found("vxlan-port", "server2", None),
        ];
        let expected = "\
server1:
  ok       kvm         well
server2:
  failure  vxlan-port  taken
                       kill 7
1 ok, 0 warnings, 1 failure
";
        assert_eq!(report(&findings), expected);
    }
}
