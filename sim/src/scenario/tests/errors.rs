//! What is said about wrong scenarios: each message is read by someone who has to correct the file.

use super::Scenario;

/// What every case begins with.
const HEAD: &str = "seed = 1\nranks = 4\nduration = \"10s\"\n";

/// The messages about these endings of a file, one after the other.
fn messages(head: &str, cases: &[&str]) -> String {
    let message = |case: &&str| match Scenario::parse("case.toml", &format!("{head}{case}\n")) {
        Ok(scenario) => panic!("{case} is fine:\n{scenario}"),
        Err(error) => error.to_string(),
    };
    cases.iter().map(message).collect::<Vec<_>>().join("\n\n")
}

fn traffic(keys: &str) -> String {
    format!("[[traffic]]\n{}", keys.replace("; ", "\n"))
}

fn all_traffic(cases: &[&str]) -> String {
    let cases: Vec<String> = cases.iter().map(|keys| traffic(keys)).collect();
    messages(HEAD, &cases.iter().map(String::as_str).collect::<Vec<_>>())
}

fn all_changes(cases: &[&str]) -> String {
    let cases: Vec<String> =
        cases.iter().map(|change| format!("[[at]]\ntime = \"2s\"\nchange = \"{change}\"")).collect();
    messages(HEAD, &cases.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn what_is_missing() {
    insta::assert_snapshot!(messages(
        "",
        &[
            "",
            "ranks = 4",
            "ranks = 4\nduration = \"1s\"\n[[traffic]]\nfrom = 0",
            "ranks = 4\nduration = \"1s\"\n\n[[at]]\nchange = \"heal\"",
            "ranks = 4\nduration = \"1s\"\n[[at]]\ntime = \"0s\""
        ]
    ));
}

#[test]
fn what_a_scenario_cannot_have() {
    insta::assert_snapshot!(messages(
        "seed = 1\n",
        &[
            "ranks = 4\nduration = \"10s\"\ntrafic = []",
            "ranks = 4\nduration = \"10s\"\nblorp = 1",
            "ranks = 0\nduration = \"10s\"",
            "ranks = -4\nduration = \"10s\"",
            "ranks = \"4\"\nduration = \"10s\"",
            "ranks = 4.5\nduration = \"10s\"",
            "ranks = 99999999999\nduration = \"10s\"",
            "ranks = 4\nduration = 10",
            "ranks = 4\nduration = 10s",
            "ranks = 4\nduration = \"10\"",
            "ranks = 4\nduration = \"0s\"",
            "ranks = 4\nduration = \"1s\"\nmtu = 100",
            "ranks = 4\nranks = 5\nduration = \"1s\"",
            "ranks = 4\nduration = \"1s\"\nname = 5",
            "ranks = 4\nduration = \"1s\"\n[traffic]\nkind = \"ping\"",
            "ranks = 4\nduration = \"1s\"\ntraffic = [\"ping\"]",
            "ranks = 4\nduration",
        ]
    ));
}

#[test]
fn links_that_are_none() {
    let cases = [
        "loss=-1%",
        "campus los=1%",
        "campsu",
        "loss=1% campus",
        "latency=5",
        "loss=150%",
        "rate=0bit/s",
        "burst=1%",
        "mtu=x",
    ];
    let cases: Vec<String> = cases.iter().map(|links| format!("links = \"{links}\"")).collect();
    insta::assert_snapshot!(messages(HEAD, &cases.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn traffic_that_cannot_be() {
    insta::assert_snapshot!(all_traffic(&[
        "kind = \"pong\"",
        "kind = \"ping\"; form = \"0\"",
        "kind = \"ping\"; bytes = \"1MiB\"",
        "kind = \"tcp\"; to = \"0\"",
        "kind = \"tcp\"; to = \"0\"; bytes = 5",
        "kind = \"ping\"; from = \"4\"; to = \"0\"",
        "kind = \"ping\"; from = \"0\"; to = \"1-7\"",
        "kind = \"ping\"; from = \"0\"; to = \"everyone\"",
        "kind = \"ping\"; from = 9; to = \"0\"",
        "kind = \"ping\"; from = [0, 1]; to = \"0\"",
        "kind = \"ping\"; from = \"0\"; to = \"0\"",
        "kind = \"ping\"; from = \"2-1\"",
        "kind = \"ping\"; count = 0",
        "kind = \"ping\"; count = -1",
        "kind = \"ping\"; start = \"10s\"",
        "kind = \"ping\"; count = 100; every = \"1s\"; start = \"1s\"",
        "kind = \"udp\"; len = 2000",
        "kind = \"frames\"; len = 14",
        "kind = \"udp\"",
        "kind = \"broadcast\"; len = 64; to = \"1\"",
        "kind = \"boot\"; count = 3",
    ]));
}

#[test]
fn changes_that_cannot_be() {
    insta::assert_snapshot!(all_changes(&[
        "partition 0,1",
        "partition 0,1 | 1,2",
        "partition 0 | 7",
        "partiton 0 | 1",
        "explode 3",
        "crash",
        "crash 4",
        "heal 3",
        "link loss=1%",
        "link 0<->1 loss=-1%",
        "link 0<->1 latncy=1ms",
        "access x rate=1Mbit/s",
    ]));
}

#[test]
fn changes_after_the_end() {
    insta::assert_snapshot!(messages(
        HEAD,
        &[
            "[[at]]\ntime = \"20s\"\nchange = \"heal\"",
            "[[at]]\ntime = 2\nchange = \"heal\"",
            "[[at]]\ntime = \"2s\"\nchange = \"heal\"\nwhy = \"\""
        ]
    ));
}
