//! What is said about wrong files: each message is read by someone who has to correct one.

use super::super::LabPlan;

const BRIDGE: &str = "[bridge]\nhost = \"server2\"\n";
const GUEST: &str = "[guest]\nimage = \"i.qcow2\"\n";
const SERVER: &str = "[[server]]\nhost = \"server1\"\nguests = 4\n";

/// The messages about these files, one after the other.
fn messages<S: AsRef<str>>(cases: &[S]) -> String {
    let message = |case: &S| match LabPlan::parse("lab.toml", case.as_ref()) {
        Ok(_) => panic!("nothing is wrong with:\n{}", case.as_ref()),
        Err(error) => error.to_string(),
    };
    cases.iter().map(message).collect::<Vec<_>>().join("\n\n")
}

/// A whole lab but for these lines, each in its own table.
fn with(bridge: &str, server: &str, guest: &str, rest: &str) -> String {
    format!("name = \"demo\"\n{BRIDGE}{bridge}\n{SERVER}{server}\n{GUEST}{guest}\n{rest}\n")
}

#[test]
fn what_is_missing() {
    insta::assert_snapshot!(messages(&[
        String::new(),
        "name = \"demo\"".to_owned(),
        "name = \"demo\"\n[bridge]\nlisten = \"::\"".to_owned(),
        format!("name = \"demo\"\n{BRIDGE}"),
        format!("name = \"demo\"\n{BRIDGE}[[server]]\nguests = 1"),
        format!("name = \"demo\"\n{BRIDGE}[[server]]\nhost = \"server1\""),
        format!("name = \"demo\"\n{BRIDGE}{SERVER}"),
    ]));
}

#[test]
fn what_a_lab_cannot_have() {
    insta::assert_snapshot!(messages(&[
        with("", "", "", "[[servers]]\nhost = \"x\""),
        with("hots = \"server3\"", "", "", ""),
        with("", "guest = 4", "", ""),
        with("", "", "memmory = \"1G\"", ""),
        "nane = \"demo\"".to_owned(),
        "name = \"my lab\"".to_owned(),
        "name = \"a-name-that-is-much-too-long\"".to_owned(),
        with("", "", "", "").replace("[[server]]", "[server]"),
        with("", "", "", "").replace("[bridge]", "[[bridge]]"),
        with("", "", "", "").replace("guests = 4", "guests = \"4\""),
        with("kernel = 1", "", "", ""),
        "name = demo".to_owned(),
    ]));
}

#[test]
fn servers_that_cannot_be() {
    let second =
        |keys: &str| with("", "", "", &format!("[[server]]\nhost = \"server3\"\nguests = 2\n{keys}"));
    insta::assert_snapshot!(messages(&[
        with("", "", "", "").replace("guests = 4", "guests = 0"),
        with("", "", "", "").replace("guests = 4", "guests = 5000"),
        with("", "vni = 16777214", "", ""),
        second("vni = 43"),
        second("name = \"server1\""),
        second("").replace("server3", "server1").replace("guests = 2", "guests = 2\nname = \"more\""),
        with("", "", "", "").replace("\"server1\"", "\"-oProxyCommand=x\""),
        with("", "", "", "").replace("\"server1\"", "\"server2\""),
        with("", "", "", "").replace("\"server1\"", "\"localhost\""),
        with("", "", "", "").replace("\"server2\"", "\"localhost\""),
        with("listen = \"eth0\"", "", "", ""),
        with("address = \"server2:4789\"", "", "", ""),
        with("vxlan-port = 0", "", "", ""),
        with("vxlan-port = 70000", "", "", ""),
        with("mvpnet = \"/my dir/mvpnet\"", "", "", ""),
        with("flags = [\"--peer=x\"]", "", "", ""),
        with("kernel = true", "", "", "").replace("\"demo\"", "\"a-name-too-long\""),
        with("kernel = true", "", "", "").replace("guests = 4", "guests = 1024"),
    ]));
}

#[test]
fn guests_that_cannot_be() {
    insta::assert_snapshot!(messages(&[
        with("", "", "memory = \"1.5G\"", ""),
        with("", "memory = \"0\"", "", ""),
        with("", "", "cpus = \"many\"", ""),
        with("", "image = \"i.img,mvpctl=x\"", "", ""),
        with("", "", "cloud-init = \"\"", ""),
        with("", "", "user = \"ann-x\"", ""),
        with("", "", "names = \"Node_\"", ""),
        with("", "", "ready = \"soon\"", ""),
        with("", "", "flags = \"-O\"", ""),
        with("", "", "flags = [\"-O\", 5]", ""),
        with("", "", "flags = [\"--vni\", \"7\"]", ""),
        with("", "", "cloud-init = \"seed\"\nnames = \"node\"", ""),
    ]));
}

#[test]
fn users_that_cannot_be() {
    insta::assert_snapshot!(messages(&[
        with("", "", "", "[[user]]\nkeys = [\"ssh-ed25519 A\"]"),
        with("", "", "", "[[user]]\nname = \"ann\""),
        with("", "", "", "[[user]]\nname = \"ann\"\nkeys = [\"~/.ssh/id.pub\"]"),
        with("", "", "", "[[user]]\nname = \"ann\"\nkeys = [\"ssh-rsa A\"]\nsudo = \"yes\""),
        with(
            "",
            "",
            "",
            "[[user]]\nname = \"ann\"\nkeys = [\"ssh-rsa A\"]\n[[user]]\nname = \"ann\"\nkeys = [\"ssh-rsa B\"]"
        ),
    ]));
}
