//! `mvpnet doctor`: has hosts examined, and says what was found. What is looked at, and what is advised, is the lab
//! crate's matter.

mod flags;
mod options;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;

use mvpnet_lab::doctor::{self, Examination, Finding, Status, Wanted};
use mvpnet_lab::plan::LabPlan;

use crate::args::USAGE_EXIT_CODE;
use crate::input::text_of;
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};
pub use options::Options;
use options::{Subject, Task};

/// Exit code where something will not work.
const FAILURE: u8 = 1;

/// Does what was asked for.
pub fn run(options: &Options) -> ExitCode {
    let Options { task, json } = options;
    let subject = match task {
        Task::Answer => return answer(),
        Task::Examine(subject) => subject,
    };
    let examination = match examination(subject) {
        Ok(examination) => examination,
        Err(text) => {
            // Nobody left to tell: the exit code still does.
            let _ = writeln!(io::stderr(), "mvpnet: {text}");
            return ExitCode::from(USAGE_EXIT_CODE);
        }
    };
    let findings = doctor::examine(&examination);
    let said = if *json { listed(&findings) } else { text::report(&findings) };
    // Nobody reads it: the exit code still tells.
    let _ = io::stdout().write_all(said.as_bytes());
    match Status::worst(&findings) {
        Status::Failure => ExitCode::from(FAILURE),
        Status::Ok | Status::Warning => ExitCode::SUCCESS,
    }
}

/// Another host's doctor asks.
fn answer() -> ExitCode {
    match doctor::answer(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILURE),
    }
}

fn examination(subject: &Subject) -> Result<Examination, String> {
    let program = std::env::current_exe().unwrap_or_else(|_| "mvpnet".into());
    let Subject { lab, hosts, mvpnet, vxlan_port, wanted } = subject;
    let Some(file) = lab else { return Ok(Examination::of_hosts(wanted, hosts, mvpnet, program)) };
    let name = file.display().to_string();
    let text = text_of(file, "a lab", "mvpnet lab --help")?;
    let plan = LabPlan::parse(&name, &text).map_err(|error| error.to_string())?;
    // Paths in it begin where it is, on all hosts.
    let whole = std::path::absolute(file).map_err(|error| format!("{name}: {error}"))?;
    let directory = whole.parent().unwrap_or(&whole);
    let vxlan_port = vxlan_port.unwrap_or(plan.bridge.vxlan_port);
    let wanted = Wanted { vxlan_port, ..wanted.clone() };
    Ok(Examination::of_lab(&wanted, &plan, directory, program))
}

fn listed(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(|finding| serde_json::json!(finding).to_string()).collect();
    if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", lines.join(",\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_list_with_a_finding_on_each_line() {
        let finding = |check: &str| doctor::Verdict::ok("well").found(check, "here", None);
        let said = listed(&[finding("kvm"), finding("qemu")]);
        assert_eq!(said.lines().count(), 4);
        let read: Vec<Finding> = serde_json::from_str(&said).unwrap();
        assert_eq!(read[1].check, "qemu");
        assert_eq!(listed(&[]), "[]\n");
    }
}
