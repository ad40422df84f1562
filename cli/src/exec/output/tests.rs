use super::*;

fn ended(outcome: Outcome) -> Ending {
    Ending { outcome, timed_out: false, elapsed: Duration::from_millis(1500) }
}

/// Shows this of nodes 0 to 2: what is on standard output and standard error, and the code.
fn shown(style: Style, say: impl FnOnce(&mut Output<&mut Vec<u8>, &mut Vec<u8>>)) -> (String, String, u8) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut output = Output::over(style, &[0, 1, 2], &mut stdout, &mut stderr);
    say(&mut output);
    let code = output.finish().unwrap();
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap(), code)
}

#[test]
fn lines_come_whole_with_the_names_of_their_nodes() {
    let (stdout, stderr, code) = shown(Style::Lines { labels: true }, |output| {
        output.say(1, Kind::Output, b"half a ").unwrap();
        output.say(0, Kind::Output, b"one\ntwo\n\nthr").unwrap();
        output.say(1, Kind::Output, b"line\n").unwrap();
        output.say(1, Kind::Error, b"careful\n").unwrap();
        output.say(0, Kind::Output, b"ee").unwrap();
        (0..3).for_each(|rank| output.end(rank, ended(Outcome::Exited(0))).unwrap());
    });
    assert_eq!(stdout, "n0000: one\nn0000: two\nn0000: \nn0001: half a line\nn0000: three\n");
    assert_eq!((stderr.as_str(), code), ("n0001: careful\n", 0));
}

#[test]
fn in_order_means_the_order_of_the_nodes() {
    let (stdout, _, _) = shown(Style::InOrder { labels: false }, |output| {
        output.say(2, Kind::Output, b"c\n").unwrap();
        output.end(2, ended(Outcome::Exited(0))).unwrap();
        output.say(0, Kind::Output, b"a\n").unwrap();
        output.say(1, Kind::Output, b"b").unwrap();
        output.end(1, ended(Outcome::Exited(0))).unwrap();
        output.end(0, ended(Outcome::Exited(0))).unwrap();
    });
    assert_eq!(stdout, "a\nb\nc\n");
}

#[test]
fn nodes_that_failed_are_named_together_and_the_highest_code_counts() {
    let (_, stderr, code) = shown(Style::Lines { labels: true }, |output| {
        output.end(0, ended(Outcome::Exited(3))).unwrap();
        output.end(1, ended(Outcome::Exited(3))).unwrap();
        output.end(2, ended(Outcome::Killed(9))).unwrap();
    });
    assert_eq!(stderr, "mvpnet: n[0000-0001]: exit code 3\nmvpnet: n0002: killed by SIGKILL\n");
    assert_eq!(code, 137);
    let (_, stderr, code) = shown(Style::Lines { labels: true }, |output| {
        output.end(0, Ending { timed_out: true, ..ended(Outcome::Killed(15)) }).unwrap();
        output.end(1, ended(Outcome::Failed("no agent answers".into()))).unwrap();
        output.end(2, ended(Outcome::Exited(0))).unwrap();
    });
    assert_eq!(stderr, "mvpnet: n0000: killed, its time was over\nmvpnet: n0001: no agent answers\n");
    assert_eq!(code, 255);
}

#[test]
fn one_node_is_raw_and_its_code_is_its_own() {
    let (stdout, stderr, code) = shown(Style::Lines { labels: true }.for_one(), |output| {
        output.say(1, Kind::Output, b"no line").unwrap();
        output.say(1, Kind::Error, b"oh").unwrap();
        output.end(1, ended(Outcome::Exited(7))).unwrap();
    });
    assert_eq!((stdout.as_str(), stderr.as_str(), code), ("no line", "oh", 7));
}

#[test]
fn json_is_one_object_for_each_node() {
    let (stdout, stderr, code) = shown(Style::Json, |output| {
        output.say(2, Kind::Output, b"hi\n\xff").unwrap();
        output.end(2, ended(Outcome::Exited(1))).unwrap();
        output.end(0, ended(Outcome::Failed("gone".into()))).unwrap();
    });
    let first: serde_json::Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    let expected = json!({
        "rank": 2, "name": "n0002", "code": 1, "signal": null, "error": null, "timed_out": false,
        "stdout": "hi\n\u{fffd}", "stderr": "", "seconds": 1.5,
    });
    assert_eq!(first, expected);
    assert!(stdout.lines().nth(1).unwrap().contains("\"error\":\"gone\""), "{stdout}");
    assert_eq!((stderr.as_str(), code), ("", 255));
}
