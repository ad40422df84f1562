//! cloud-init's own code reads the user-data that we make: its schema, and how it merges the user's with ours.

use std::fs;

use mvpnet_seed::{Cluster, UserFiles, Volume, volume};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::setting::{Python, cloud_init, keys, output_of, plain, with_everything};

/// What cloud-init makes of a user-data of the user's and ours.
struct Understood(Value);

impl Understood {
    fn of(python: &Python, cluster: &Cluster, user_data: Option<&[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own");
        fs::create_dir(&own).unwrap();
        if let Some(user_data) = user_data {
            fs::write(own.join("user-data"), user_data).unwrap();
        }
        let rank = cluster.world.rank(1).unwrap();
        let own = UserFiles::read(&own).unwrap_or_else(|error| panic!("{error}"));
        let volume = volume(cluster, &keys(), rank, &own).unwrap();
        let (_, contents) =
            volume.files.iter().find(|(path, _)| path == "user-data").expect("there is always one");
        let path = directory.path().join("user-data");
        fs::write(&path, contents).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_programs/merged.py");
        let said = output_of(python.call().arg(script).arg(&path));
        let understood = Self(serde_json::from_str(&said).unwrap());
        assert_eq!(understood.0["warnings"], Value::Array(Vec::new()), "{}", understood.0["warnings"]);
        understood
    }

    fn config(&self, key: &str) -> &Value {
        &self.0["config"][key]
    }

    fn list(&self, key: &str) -> &[Value] {
        self.config(key).as_array().unwrap_or_else(|| panic!("{key} is {}", self.config(key)))
    }

    /// The texts of all parts of a kind.
    fn parts(&self, kind: &str) -> Vec<&str> {
        let parts = self.0["kinds"].as_array().expect("a list");
        parts.iter().filter(|part| part[0] == kind).map(|part| part[1].as_str().expect("a text")).collect()
    }
}

fn assert_schema_accepts(python: &Python, text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("user-data");
    fs::write(&path, text).unwrap();
    let arguments = ["-m", "cloudinit.cmd.main", "schema", "--config-file"];
    let said = output_of(python.call().args(arguments).arg(&path));
    assert!(said.starts_with("Valid"), "{said}");
}

#[test]
fn the_schema_accepts_what_we_make() {
    let Some(python) = cloud_init() else { return };
    let as_root = Cluster { user: "root".to_owned(), ..plain(2) };
    for cluster in [plain(2), with_everything(), as_root] {
        let understood = Understood::of(&python, &cluster, None);
        assert_eq!(understood.parts("text/cloud-config").len(), 2);
        // Both of them, put together.
        let merged = serde_json::to_string(&understood.0["config"]).unwrap();
        assert_schema_accepts(&python, &format!("#cloud-config\n{merged}\n"));
    }
}

#[test]
fn what_we_say_arrives_as_it_was_meant() {
    let Some(python) = cloud_init() else { return };
    let cluster = with_everything();
    let understood = Understood::of(&python, &cluster, None);
    assert_eq!(understood.config("runcmd"), &serde_json::json!(cluster.run));
    assert_eq!(understood.config("packages"), &serde_json::json!(cluster.packages));
    assert_eq!(understood.config("package_update"), true);
    let text = understood.config("final_message").as_str().unwrap();
    assert_eq!(text.trim(), Volume::READY_TEXT);
    let host_key = understood.config("ssh_keys")["ed25519_private"].as_str().unwrap();
    assert_eq!(host_key, keys().host_private(cluster.world.rank(1).unwrap()));
    let users = &understood.0["users"];
    assert_eq!(users["debian"]["default"], true);
    assert_eq!(users["mpihpc"]["uid"], 7777);
    assert_eq!(users["alice"]["sudo"], "ALL=(ALL) NOPASSWD:ALL");
    let authorized = users["alice"]["ssh_authorized_keys"].as_array().unwrap();
    assert_eq!(authorized.last().unwrap(), &Value::String(keys().user_public()));
}

#[test]
fn where_both_say_something_theirs_counts_and_lists_are_put_together() {
    let Some(python) = cloud_init() else { return };
    let own = "#cloud-config\nusers:\n- name: alice\n  shell: /bin/zsh\n- name: bob\npackages: [vim]\nruncmd: [[ls, -l]]\n\
               bootcmd: [first]\nmanage_etc_hosts: true\nfinal_message: theirs\npackage_update: false\n\
               ssh_authorized_keys: [ssh-rsa BOB]\nwrite_files:\n- path: /etc/motd\n  content: ä\n\
               apt: {conf: x}\ntimezone: Europe/Berlin\nssh_keys: {rsa_private: x}\n";
    let understood = Understood::of(&python, &with_everything(), Some(own.as_bytes()));
    assert_eq!(understood.config("manage_etc_hosts"), true);
    assert_eq!(understood.config("package_update"), false);
    assert_eq!(understood.config("timezone"), "Europe/Berlin");
    assert_eq!(understood.config("final_message"), &Value::String(format!("theirs\n{}", Volume::READY_TEXT)));
    assert_eq!(understood.list("packages"), ["vim", "nfs-common"]);
    assert_eq!(understood.list("runcmd")[0], serde_json::json!(["ls", "-l"]));
    assert_eq!(understood.list("runcmd").len(), 3);
    // Ours runs before theirs: it is what makes the names.
    assert_eq!(understood.list("bootcmd")[1], "first");
    assert_eq!(understood.list("ssh_authorized_keys")[0], "ssh-rsa BOB");
    assert_eq!(understood.list("write_files")[0]["content"], "ä");
    assert_eq!(understood.config("apt")["conf"], "x");
    assert_eq!(understood.config("apt")["http_proxy"], "http://192.168.1.2:3128");
    assert_eq!(understood.config("ssh_keys")["rsa_private"], "x");
    assert!(understood.config("ssh_keys")["ed25519_private"].is_string());
    let users = &understood.0["users"];
    assert_eq!(users["alice"]["shell"], "/bin/zsh");
    assert_eq!(users["alice"]["sudo"], "ALL=(ALL) NOPASSWD:ALL");
    for name in ["debian", "bob", "mpihpc"] {
        assert!(users[name].is_object(), "{name} in {users}");
    }
}

#[test]
fn their_own_way_to_merge_changes_nothing_of_ours() {
    let Some(python) = cloud_init() else { return };
    let own =
        "#cloud-config\nmerge_how: dict(replace)+list(replace)+str(append)\npackages: [vim]\nlocale: C\n";
    let understood = Understood::of(&python, &with_everything(), Some(own.as_bytes()));
    assert_eq!(understood.list("packages"), ["vim", "nfs-common"]);
    assert_eq!(understood.config("locale"), "C");
}

#[test]
fn user_data_of_every_kind_stays_what_it_is() {
    let Some(python) = cloud_init() else { return };
    let script = "#!/bin/sh\necho 'grüß dich'\n";
    let kinds = [
        ("text/x-shellscript", script),
        ("text/cloud-boothook", "#cloud-boothook\n#!/bin/sh\ntrue\n"),
        ("text/jinja2", "## template: jinja\n#cloud-config\nruncmd: [\"echo {{ v1.instance_id }}\"]\n"),
        ("text/part-handler", "#part-handler\ndef list_types():\n    return []\n"),
        ("text/cloud-config-jsonp", "#cloud-config-jsonp\n[]\n"),
    ];
    for (kind, text) in kinds {
        let understood = Understood::of(&python, &plain(2), Some(text.as_bytes()));
        assert_eq!(understood.parts(kind), [text], "{kind}");
        assert_eq!(understood.list("users").len(), 2, "{kind}");
    }
}

#[test]
fn the_parts_of_their_multi_part_are_all_there() {
    let Some(python) = cloud_init() else { return };
    let own = "Content-Type: multipart/mixed; boundary=\"B\"\nMIME-Version: 1.0\n\n--B\nContent-Type: text/cloud-config\n\n\
               #cloud-config\npackages: [vim]\n--B\nContent-Type: text/cloud-config\nMerge-Type: list(append)+dict()+str()\n\n\
               #cloud-config\nlocale: C\n--B\nContent-Type: text/x-shellscript\n\n#!/bin/sh\ntrue\n--B--\n";
    for envelope in ["", "From nobody Sat Nov 21 15:00:00 2026\n"] {
        let understood =
            Understood::of(&python, &with_everything(), Some(format!("{envelope}{own}").as_bytes()));
        assert_eq!(understood.parts("text/x-shellscript"), ["#!/bin/sh\ntrue"]);
        assert_eq!(understood.list("packages"), ["vim", "nfs-common"]);
        assert_eq!(understood.config("locale"), "C");
    }
}

#[test]
fn an_archive_is_opened() {
    let Some(python) = cloud_init() else { return };
    let own = "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    packages: [vim]\n- |\n  #!/bin/sh\n  true\n";
    let understood = Understood::of(&python, &with_everything(), Some(own.as_bytes()));
    assert_eq!(understood.list("packages"), ["vim", "nfs-common"]);
    assert_eq!(understood.parts("text/x-shellscript"), ["#!/bin/sh\ntrue\n"]);
}

/// Reads each text of a JSON list and prints the numbers of those that it cannot read.
const READ_ALL: &str = "import json, sys, yaml\nwrong = []\nfor number, text in enumerate(json.load(open(sys.argv[1]))):\n    \
    try:\n        yaml.safe_load(text)\n    except Exception:\n        wrong.append(number)\nprint(json.dumps(wrong))\n";

#[test]
fn what_is_let_through_can_be_read_by_cloud_inits_yaml() {
    let Some(python) = cloud_init() else { return };
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("own");
    fs::create_dir(&own).unwrap();
    let pieces = "(a|b|runcmd|- |a: |b:\t|b:|\t| |  |\n|\n  |\n- |\\[|\\]|\\{|\\}|, |,|\"|'|#| #c|&x |\\*x|!t |\\||>|%|@|`|\\?|---|\\.\\.\\.|\\\\|1|é|\u{85}){1,12}";
    let texts = proptest::string::string_regex(pieces).unwrap();
    let mut runner = TestRunner::deterministic();
    let mut taken = Vec::new();
    for _ in 0..1500 {
        let text = format!("#cloud-config\nz: 1\ny: {}\n", texts.new_tree(&mut runner).unwrap().current());
        fs::write(own.join("user-data"), &text).unwrap();
        if UserFiles::read(&own).is_ok() {
            taken.push(text);
        }
    }
    assert!(taken.len() > 200, "{}", taken.len());
    let list = directory.path().join("list");
    fs::write(&list, serde_json::to_string(&taken).unwrap()).unwrap();
    let wrong = output_of(python.call().args(["-c", READ_ALL]).arg(&list));
    let wrong: Vec<usize> = serde_json::from_str(&wrong).unwrap();
    let wrong: Vec<&String> = wrong.into_iter().map(|number| &taken[number]).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), taken.len());
}
