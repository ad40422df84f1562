//! Labs as texts, the command lines that they come to, and what is said about wrong ones.

mod errors;

use std::path::Path;

use proptest::prelude::*;

use super::*;

/// The smallest lab.
const SMALL: &str = "
name = \"demo\"
[bridge]
host = \"server2\"
[[server]]
host = \"server1\"
guests = 4
[guest]
image = \"debian.qcow2\"
";

/// One that says all there is to say.
const LARGE: &str = r#"
name = "demo"

[bridge]
host = "me@server2"
address = "2001:db8::2"
listen = "2001:db8::2"
vxlan-port = 14789
mvpnet = "/opt/mvpnet/mvpnet"
flags = ["--capture", "/var/tmp/bridge.pcapng"]

[[server]]
host = "server1"
guests = 2
vni = 60

[[server]]
name = "large"
host = "server3.example.org"
address = "192.0.2.3"
listen = "192.0.2.3"
guests = 1
vni = 40
tap = true
image = "file=/dev/sdb,format=raw"
memory = 4096
cpus = "4,sockets=2"

[guest]
image = "~/images/debian.qcow2"
memory = "1G"
cpus = 1
append = "console=ttyS0"
kernel = "/boot/vmlinuz"
initrd = "initrd.gz"
names = "node"
ready = "console:login:"
flags = ["-O", "--grace", "5"]

[[user]]
name = "ann"
keys = ["ssh-ed25519 AAAA ann@home"]

[[user]]
name = "bob"
keys = ["ecdsa-sha2-nistp256 BBBB", "ssh-rsa CCCC"]
sudo = false
"#;

fn plan(source: &str) -> LabPlan {
    LabPlan::parse("lab.toml", source).unwrap_or_else(|error| panic!("{error}"))
}

/// Command lines as a host would see them, a line each.
fn shown(lines: impl IntoIterator<Item = Vec<Word>>) -> String {
    let word = |word: Word| {
        let word =
            word.resolve(Place::LabDir, Path::new("/labs")).resolve(Place::Home, Path::new("/home/me"));
        word.resolve(Place::RunDir, Path::new("/run")).text
    };
    let line = |words: Vec<Word>| words.into_iter().map(word).collect::<Vec<_>>().join(" ");
    lines.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn command_lines(plan: &LabPlan) -> String {
    let servers = plan.servers.iter().map(|server| plan.server_arguments(server));
    shown(std::iter::once(plan.bridge_arguments()).chain(servers))
}

#[test]
fn a_small_lab_has_defaults() {
    let plan = plan(SMALL);
    let server = &plan.servers[0];
    assert_eq!((plan.bridge.vxlan_port, plan.bridge.address.as_str()), (4789, "server2"));
    assert_eq!((server.vnis().to_string().as_str(), server.name.as_str()), ("40-43", "server1"));
    assert_eq!((plan.world().size(), server.vni_of(3)), (4, Vni::new(43).ok()));
    assert_eq!(server.vni_of(4), None);
    assert_eq!(server.guest.name_of(3), "n0003");
    assert_eq!(plan.seed_files(server), []);
    insta::assert_snapshot!(command_lines(&plan));
}

#[test]
fn a_large_lab_says_it_all() {
    let plan = plan(LARGE);
    assert_eq!(plan.vnis().to_string(), "40,60-61");
    assert_eq!(plan.hosts().len(), 3);
    assert_eq!(plan.servers[1].ranks(), 2..3);
    assert_eq!(
        (plan.servers[1].guest.name_of(2).as_str(), plan.servers[1].guest.login()),
        ("node0002", Some("ann"))
    );
    insta::assert_snapshot!(command_lines(&plan));
}

#[test]
fn names_and_users_are_told_to_cloud_init() {
    let plan = plan(LARGE);
    let files = plan.seed_files(&plan.servers[1]);
    let text = |file: SeedFile| format!("{}\n{}", file.path, file.text);
    insta::assert_snapshot!(files.into_iter().map(text).collect::<Vec<_>>().join("\n"));
}

#[test]
fn servers_follow_each_other_in_ranks_and_networks() {
    let two = SMALL.replace("[guest]", "[[server]]\nhost = \"server3\"\nguests = 2\n[guest]");
    let plan = plan(&two);
    let second = &plan.servers[1];
    assert_eq!((second.first_rank, second.vnis().to_string().as_str()), (4, "44-45"));
    assert_eq!(plan.vnis().to_string(), "40-45");
}

#[test]
fn a_kernel_bridge_stays_without_a_process() {
    let plan = plan(&SMALL.replace("[[server]]", "kernel = true\n[[server]]"));
    insta::assert_snapshot!(shown([plan.bridge_arguments()]), @"bridge --kernel --name demo --vni 40-43 --peer 40-43:server1");
}

#[test]
fn a_lab_on_one_host_has_an_address_for_each_end() {
    let local = SMALL.replace("server1", "localhost").replace("server2", "localhost");
    let plan = plan(
        &local.replace("[guest]", "[[server]]\nhost = \"localhost\"\nname = \"b\"\nguests = 1\n[guest]"),
    );
    let listens: Vec<String> = plan.servers.iter().map(|server| server.address.clone()).collect();
    assert_eq!(
        (plan.bridge.address.as_str(), listens),
        ("127.0.0.1", vec!["127.0.0.2".to_owned(), "127.0.0.3".into()])
    );
    assert_eq!(plan.hosts(), [&Host::Local]);
}

#[test]
fn an_image_is_written_to_by_one_guest_only_unless_the_file_says_so() {
    for (image, flags, word) in [
        ("a.img", "", "/labs/a.img,mvpctl=s"),
        ("/a.img,cache=none", "", "/a.img,cache=none,mvpctl=s"),
        ("a.img,mvpctl=p", "", "/labs/a.img,mvpctl=p"),
        ("a.img", "-r", "/labs/a.img"),
        ("file=a.img", "", "file=a.img"),
        ("./a=b.img", "", "/labs/./a=b.img,mvpctl=s"),
    ] {
        let flags =
            if flags.is_empty() { String::new() } else { format!("flags = [\"{flags}\", \"/tmp/x\"]") };
        let plan = plan(&SMALL.replace("image = \"debian.qcow2\"", &format!("image = \"{image}\"\n{flags}")));
        let line = shown([plan.server_arguments(&plan.servers[0])]);
        assert!(
            line.contains(&format!("--image {word} ")) || line.ends_with(&format!("--image {word}")),
            "{line}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "(name|bridge|server|guest|host|vni|=|\\[\\[|\\]\\]|\\[|\\]|\n|\"|é|[ -~]){0,40}") {
        if let Err(error) = text.parse::<LabPlan>() {
            prop_assert!(!error.suggestion.is_empty());
            let _ = error.to_string();
        }
    }

    #[test]
    fn ranges_that_do_not_overlap_are_read_back_as_they_were(starts in proptest::collection::vec((1u32..50, 0u32..20), 1..6)) {
        let mut source = "name = \"x\"\n[bridge]\nhost = \"b\"\n[guest]\nimage = \"i\"\n".to_owned();
        let mut next = 0;
        for (index, (guests, gap)) in starts.iter().enumerate() {
            source += &format!("[[server]]\nhost = \"s{index}\"\nguests = {guests}\nvni = {}\n", next + gap);
            next += gap + guests;
        }
        let plan = plan(&source);
        let total: u32 = starts.iter().map(|(guests, _)| guests).sum();
        prop_assert_eq!(plan.world().size(), total);
        prop_assert_eq!(plan.vnis().len(), total as usize);
        prop_assert_eq!(plan.servers.last().map(|server| server.ranks().end), Some(total));
    }
}
