//! Whole labs, with a shell script in place of ssh that answers as agents do.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::*;

const LAB: &str = r#"
name = "demo"
[bridge]
host = "server2"
[[server]]
host = "server1"
guests = 2
[[server]]
host = "me@server3"
guests = 1
vni = 60
[guest]
image = "i.img"
user = "ann"
"#;

/// What agents answer: a line of a shell's `case`, whose word is `HOST REQUEST`.
const ALL_GOOD: &str = r#"
server2*start*) echo '{"started":{"condition":"up","process":7,"details":{"pid":7},"strays":[],"lines":[]}}' ;;
server1*start*) echo '{"progress":"mvpnet: booted 2 of 2, 00:12"}'
    echo '{"started":{"condition":"up","process":8,"strays":[],"lines":[],"details":{"process":8,"guests":[
        {"rank":0,"ssh_port":2200,"ssh_user":"ann"},{"rank":1,"ssh_port":null}]}}}' | tr -d '\n'; echo ;;
me@server3*start*) echo '{"already":{"condition":"up","process":9,"strays":[],"lines":[],"details":{"guests":[
        {"rank":2,"ssh_port":2202}]}}}' | tr -d '\n'; echo ;;
*stop*) echo '{"stopped":true}' ;;
*server2*state*) echo '{"state":{"condition":"up","process":7,"details":null,"strays":[],"lines":[]}}' ;;
*state*) echo '{"state":{"condition":"ended","process":null,"details":null,"strays":[5],"lines":["oh no"]}}' ;;
"#;

struct Case {
    dir: TempDir,
}

impl Case {
    fn new(answers: &str) -> Case {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lab.toml"), LAB).unwrap();
        let log = dir.path().join("log");
        let script = format!(
            "read -r request\necho \"$*\" >>{log}\nprintf '%s %s\\n' \"$1\" \"$request\" >>{log}\ncase \"$1 $request\" in\n{answers}\nesac\n",
            log = log.display()
        );
        fs::write(dir.path().join("ssh"), script).unwrap();
        Case { dir }
    }

    fn run(&self, task: Task, json: bool) -> Result<String, Stop> {
        carry_out(&Options {
            task,
            file: self.dir.path().join("lab.toml"),
            json,
            ssh: Some(format!("sh {}", self.dir.path().join("ssh").display())),
        })
    }

    /// What was asked: hosts with the first word of the request, sorted where the order is nobody's matter.
    fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
        let requests = log.lines().filter_map(|line| line.split_once(" {"));
        let word = |(host, request): (&str, &str)| {
            let request: Value = serde_json::from_str(&format!("{{{request}")).unwrap();
            let request = request["request"].as_object().unwrap();
            format!("{host} {}", request.keys().next().unwrap())
        };
        requests.map(word).collect()
    }
}

#[test]
fn up_starts_the_bridge_first_and_shows_all_guests() {
    let case = Case::new(ALL_GOOD);
    let text = case.run(Task::Up, false).unwrap();
    insta::assert_snapshot!(text);
    let asked = case.asked();
    assert_eq!((asked.len(), asked[0].as_str()), (3, "server2 start"));
    let called = fs::read_to_string(case.dir.path().join("log")).unwrap();
    assert!(called.starts_with("server2 mvpnet lab agent\n"));
}

#[test]
fn up_says_all_there_is_to_know_as_json() {
    let case = Case::new(ALL_GOOD);
    let text = case.run(Task::Up, true).unwrap();
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((said["lab"].as_str(), said["bridge"]["process"].as_u64()), (Some("demo"), Some(7)));
    assert_eq!(said["servers"][1]["name"], "server3");
    assert_eq!(said["guests"].as_array().map(Vec::len), Some(3));
    assert_eq!(said["guests"][2]["ssh"], "ssh -J me@server3 -p 2202 ann@127.0.0.1");
    assert_eq!(said["guests"][2]["vni"], 60);
}

#[test]
fn what_was_started_is_taken_down_if_something_fails_and_what_ran_before_is_not() {
    let failing = ALL_GOOD.replace(
        "server1*start*) echo",
        "server1*start*) echo '{\"failed\":{\"why\":\"no room\",\"lines\":[\"disk full\"]}}' ;; nobody*) echo",
    );
    let case = Case::new(&failing);
    assert!(matches!(case.run(Task::Up, false), Err(Stop::Failed)));
    let asked = case.asked();
    assert_eq!(asked.iter().filter(|asked| asked.ends_with("stop")).collect::<Vec<_>>(), ["server2 stop"]);
    assert_eq!(asked.last().map(String::as_str), Some("server2 stop"));
}

#[test]
fn without_a_bridge_no_guest_is_started() {
    let case = Case::new("server2*) echo 'Connection refused' >&2; exit 255 ;;");
    assert!(matches!(case.run(Task::Up, false), Err(Stop::Failed)));
    assert_eq!(case.asked(), ["server2 start"]);
}

#[test]
fn who_boots_is_told_to_give_up_when_another_fails() {
    // The first waits until nobody wants it any more; the second cannot.
    let answers = r#"
        server2*start*) echo '{"started":{"condition":"up","process":7,"details":null,"strays":[],"lines":[]}}' ;;
        server1*start*) cat >/dev/null; echo '{"failed":{"why":"given up before it was up","lines":[]}}' ;;
        me@server3*start*) exit 127 ;;
        *stop*) echo '{"stopped":true}' ;;"#;
    let case = Case::new(answers);
    assert!(matches!(case.run(Task::Up, false), Err(Stop::Failed)));
    assert_eq!(case.asked().last().map(String::as_str), Some("server2 stop"));
}

#[test]
fn what_may_have_been_started_is_ended_too() {
    let case = Case::new(&format!("server1*start*) exit 1 ;;\n{ALL_GOOD}"));
    assert!(matches!(case.run(Task::Up, false), Err(Stop::Failed)));
    assert!(case.asked().contains(&"server1 stop".to_owned()));
}

#[test]
fn status_shows_what_is_not_well() {
    let case = Case::new(ALL_GOOD);
    assert!(matches!(case.run(Task::Status, true), Err(Stop::Failed)));
    let good = ALL_GOOD.replace("\"ended\"", "\"up\"");
    let case = Case::new(&good);
    insta::assert_snapshot!(case.run(Task::Status, false).unwrap());
}

#[test]
fn down_ends_guests_before_the_bridge_and_all_that_can_be_reached() {
    let case = Case::new(ALL_GOOD);
    let said: Value = serde_json::from_str(&case.run(Task::Down { force: false }, true).unwrap()).unwrap();
    assert_eq!(said["ended"].as_array().map(Vec::len), Some(3));
    assert_eq!(case.asked().last().map(String::as_str), Some("server2 stop"));
    let case = Case::new(&format!("server1*) exit 255 ;;\n{ALL_GOOD}"));
    assert!(matches!(case.run(Task::Down { force: true }, false), Err(Stop::Failed)));
    assert_eq!(case.asked().len(), 3);
}

#[test]
fn a_wrong_file_is_wrong_usage() {
    let case = Case::new("");
    fs::write(case.dir.path().join("lab.toml"), "name = \"demo\"\nbrigde = 1").unwrap();
    let Err(Stop::Usage(text)) = case.run(Task::Up, false) else { panic!("not refused") };
    assert!(
        text.contains("lab.toml:2:1: a lab has no key `brigde`") && text.contains("did you mean `bridge`?"),
        "{text}"
    );
    fs::remove_file(case.dir.path().join("lab.toml")).unwrap();
    let Err(Stop::Usage(text)) = case.run(Task::Up, false) else { panic!("not refused") };
    assert!(text.contains("there is no such file"), "{text}");
    fs::create_dir(case.dir.path().join("lab.toml")).unwrap();
    let Err(Stop::Usage(text)) = case.run(Task::Up, false) else { panic!("not refused") };
    assert!(text.ends_with("is a directory, not a lab: name the file itself"), "{text}");
}
