//! Command lines of `mvpnet bridge`, right and wrong.

use super::*;
use crate::command_line::{Invocation, Stop, parse};

fn options(line: &str) -> Result<Options, String> {
    let words = std::iter::once("mvpnet").chain(line.split_whitespace()).map(OsString::from);
    match parse(words) {
        Ok(Invocation::Bridge(options)) => Ok(options),
        Ok(other) => panic!("{line}: {other:?}"),
        Err(Stop::Usage(usage)) => Err(usage.to_string()),
        Err(Stop::Show(text)) => panic!("{line}: {text}"),
    }
}

fn run(line: &str) -> Run {
    match options(line) {
        Ok(Options::Run(run)) => *run,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_simplest_line_has_the_usual_port_and_finds_the_rest_by_itself() {
    let run = run("bridge --vni 40-43 --peer server1");
    assert_eq!((run.name.as_str(), run.port, run.listen, run.mtu), ("cluster", 4789, None, None));
    assert_eq!(run.vnis.map(|vnis| vnis.len()), Some(4));
    assert_eq!((run.storm_limit, run.ageing, run.capture, run.json), (None, None, None, false));
}

#[test]
fn every_flag_arrives() {
    let line = "bridge --vni 40-43,60 --peer server1 --peer 60:[fd00::3]:14789 --listen [fd00::2] --vxlan-port 8472 \
                --mtu 1400 --storm-limit 500 --ageing 5min --capture caps --name lab --json";
    let run = run(line);
    assert_eq!(run.peers.iter().map(Peer::to_string).collect::<Vec<_>>(), ["server1", "60:[fd00::3]:14789"]);
    assert_eq!((run.listen, run.port, run.mtu), ("fd00::2".parse().ok(), 8472, Some(1400)));
    assert_eq!(
        (run.storm_limit, run.ageing),
        (Some(StormLimit::Frames(500)), Some(Duration::from_secs(300)))
    );
    assert_eq!((run.capture, run.name.as_str(), run.json), (Some(Capture::Path("caps".into())), "lab", true));
}

#[test]
fn what_can_be_switched_off_or_left_to_the_program_says_so() {
    let run = run("bridge --vni 40 --peer s --storm-limit off --mtu auto --ageing 30");
    assert_eq!(
        (run.storm_limit, run.mtu, run.ageing),
        (Some(StormLimit::Off), None, Some(Duration::from_secs(30)))
    );
}

#[test]
fn a_file_of_peers_is_read_when_the_bridge_starts() {
    let run = run("bridge --peers /etc/mvpnet/peers");
    assert_eq!((run.peers_file, run.vnis), (Some("/etc/mvpnet/peers".into()), None));
}

#[test]
fn a_bridge_is_looked_at_and_ended_by_its_name() {
    let lab = |json| Chosen { name: Some("lab".to_owned()), json };
    assert_eq!(options("bridge status --name lab --json"), Ok(Options::Status(lab(true))));
    assert_eq!(options("bridge down --name lab"), Ok(Options::Down(lab(false))));
    assert_eq!(options("bridge status"), Ok(Options::Status(Chosen { name: None, json: false })));
}

#[test]
fn the_kernel_is_a_bridge_too() {
    let Ok(Options::Kernel { run, print: false }) = options("bridge --kernel --vni 40 --peer s") else {
        panic!()
    };
    assert_eq!(run.port, 4789);
    assert!(matches!(options("bridge --print --vni 40 --peer s"), Ok(Options::Kernel { print: true, .. })));
    let error = options("bridge --kernel --vni 40 --peer s --capture x").unwrap_err();
    assert!(error.starts_with("--capture is not for a bridge of the kernel (--kernel)"), "{error}");
}

#[test]
fn wrong_usage_says_what_to_do() {
    const HELP: &str = "\ntry `mvpnet bridge --help`";
    for (line, message) in [
        ("bridge", "the bridge needs to know who sends to it: --peer server1"),
        ("bridge --vni 40-43", "the bridge needs to know who sends to it: --peer server1"),
        (
            "bridge --peer server1",
            "which VNIs has `server1`? --vni 40-43 for the whole bridge, or 40-43:server1 for this peer alone",
        ),
        ("bridge --vni 43-40 --peer s", "--vni: the VNI list `43-40` runs backwards at `43-40`"),
        ("bridge --vni 40-43,42 --peer s", "--vni: the VNI list `40-43,42` names VNI 42 twice"),
        (
            "bridge --vni 1-5000 --peer s",
            "--vni: the VNI list `1-5000` names 5000 VNIs, and 4096 are the most",
        ),
        (
            "bridge --vni 40-43 --peer s1 --peer s2",
            "which VNIs has `s1`, and which `s2`? Each VNI has one peer: write them in front, like 40-41:s1 and \
             42-43:s2",
        ),
        ("bridge --vni 40 --peer fd00::1", "--peer `fd00::1`: an IPv6 address stands in brackets: [fd00::1]"),
        ("bridge --vni 40 --peer s:99999", "--peer `s:99999`: `99999` is no UDP port: those are 1 to 65535"),
        (
            "bridge --json --capture - --vni 40 --peer s",
            "--json and --capture - both write to standard output: capture to a file or a pipe",
        ),
    ] {
        assert_eq!(options(line).unwrap_err(), format!("{message}{HELP}"), "{line}");
    }
    for (line, message) in [
        ("bridge --vni 40 --peer s --mtu 100", "--mtu 100: must be between 576 and 65535 bytes"),
        ("bridge --vni 40 --peer s --mtu big", "--mtu big: expected a number of bytes, or auto"),
        ("bridge --vni 40 --peer s --vxlan-port 0", "--vxlan-port 0: expected a UDP port, 1 to 65535"),
        (
            "bridge --vni 40 --peer s --listen eth0",
            "--listen eth0: expected an IPv4 or IPv6 address of this host (the port is --vxlan-port)",
        ),
        (
            "bridge --vni 40 --peer s --storm-limit 0",
            "--storm-limit 0: expected a number of frames a second, or off",
        ),
        (
            "bridge --vni 40 --peer s --ageing never",
            "--ageing never: expected a time from 1s to 1000000s, like 300s or 5min",
        ),
        (
            "bridge status --name a/b",
            "--name a/b: expected a name of letters, digits, `-`, `_` and `.`, 64 at most",
        ),
        (
            "bridge --vni 40 --storm-limt 5",
            "there is no flag --storm-limt; a similar one is --storm-limit\ntry `mvpnet bridge --help`",
        ),
    ] {
        assert_eq!(options(line).unwrap_err(), message, "{line}");
    }
}

#[test]
fn help_teaches_a_whole_lab() {
    for (line, part) in [
        ("bridge --help", "A LAB ON TWO SERVERS"),
        ("bridge -h", "mvpnet bridge --vni 40-43 --peer HOST"),
        ("bridge status --help", "--json"),
        ("bridge down -h", "--name <NAME>"),
    ] {
        let words = std::iter::once("mvpnet").chain(line.split_whitespace()).map(OsString::from);
        let Err(Stop::Show(text)) = parse(words) else { panic!("{line}") };
        let text = text.render().to_string();
        assert!(text.contains(part), "{line}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{line}: {text}");
    }
}
