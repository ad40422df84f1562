//! What is refused and what is not.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

/// What is said of a user-data, without the name of the file; empty if nothing is wrong.
fn said(user_data: impl AsRef<[u8]>) -> String {
    UserData::parse(user_data.as_ref()).err().unwrap_or_default()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

const MULTI_PART: &str = "From nobody Sat Nov 21 2026\nContent-Type: multipart/mixed;\n boundary=\"==b==\"\nMIME-Version: 1.0\n\n\
--==b==\nContent-Type: text/cloud-config; charset=\"us-ascii\"\nMIME-Version: 1.0\n\n#cloud-config\nruncmd:\n- [ls]\n\
--==b==\nContent-Type: text/x-shellscript\n\n#!/bin/sh\necho: [\n--==b==--\n";

#[test]
fn user_data_of_every_kind_is_taken() {
    let kinds = [
        "#cloud-config\nusers: [default]\n",
        "#cloud-config\r\nusers:\r\n- default\r\n",
        "#!/bin/sh\necho: [",
        "#include\nhttps://example.org/user-data\n",
        "#include-once\nhttps://example.org/user-data\n",
        "## template: jinja\n#cloud-config\nruncmd:\n- echo {{ v1.instance_id }}\n",
        "#cloud-boothook\n#!/bin/sh\n",
        "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    users: [default]\n- \"#!/bin/sh\"\n",
        "#cloud-config-jsonp\n[{\"op\": \"add\", \"path\": \"/runcmd\", \"value\": []}]\n",
        "#part-handler\ndef list_types():\n    return []\n",
        MULTI_PART,
        "\u{feff}#cloud-config\na: 1\n",
        "#cloud-config\nlocale: false\nssh_pwauth: no\npackage_update: Yes\nmanage_etc_hosts: localhost\n",
        "#cloud-config\nusers:\n- default\n- name: 0x1\n- [a, b]\nruncmd:\n- ls\n- [ls, -l, 1]\n- null\n",
    ];
    for text in kinds {
        assert_eq!(said(text), "", "{text}");
        assert_eq!(said(gzip(text)), "", "{text}, compressed");
    }
    for empty in ["", " \n\t\n", "#cloud-config\n", "#cloud-config\n# nothing\n"] {
        assert_eq!(UserData::parse(empty.as_bytes()), Ok(None));
    }
}

#[test]
fn what_cloud_init_would_not_understand_is_refused_with_its_line() {
    let broken = [
        "users:\n- name: alice\n",
        "# mine\n#cloud-config\nusers: []\n",
        "\n\nhello\n",
        "#cloud-config\n- a\n",
        "#cloud-config\nhello\n",
        "#cloud-config\nusers:\n\t- name: alice\n",
        "#cloud-config\nusers:\n  - name: alice\n   sudo: x\n",
        "#cloud-config\na: [1, 2\nb: 3\n",
        "#cloud-config\na: \"unclosed\n",
        "#cloud-config\na: 1\na: 2\n",
        "#cloud-config\na: *nobody\n",
        "#cloud-config\na: 1\n---\nb: 2\n",
        "#cloud-config\nusers: alice\n",
        "#cloud-config\nusers:\n- sudo: x\n",
        "#cloud-config\nusers:\n- 7\n",
        "#cloud-config\nwrite_files:\n- content: x\n",
        "#cloud-config\nwrite_files:\n  path: /x\n",
        "#cloud-config\nruncmd: ls\n",
        "#cloud-config\nruncmd:\n- echo: hello\n",
        "#cloud-config\nbootcmd:\n- [ls, [a]]\n",
        "#cloud-config\npackages: mpich\n",
        "#cloud-config\nssh_authorized_keys: ssh-rsa AAAA\n",
        "#cloud-config\nssh_authorized_keys:\n- a: b\n",
        "#cloud-config\npackage_update: maybe\n",
        "#cloud-config\nhostname: [a]\n",
        "#cloud-config\nfinal_message: 3\n",
        "#cloud-config\napt: x\n",
        "#cloud-config\nruncmd:\n",
        "#cloud-config\n1: x\n",
        "#cloud-config-archive\na: b\n",
        "#cloud-config-archive\n- content: |\n    #cloud-config\n    runcmd: x\n",
    ];
    insta::assert_snapshot!(broken.map(|text| format!("{text:?}\n    {}", said(text))).join("\n"));
}

#[test]
fn tabs_are_refused_where_cloud_init_stops_at_them_and_nowhere_else() {
    let wrong = [
        "a:\t1\n",
        "a: 1\nb: x\ty\n",
        "a: 1\t# c\n",
        "a: 1\n\t\nb: 2\n",
        "a: [1,\t2]\n",
        "a:\n-\tb\n",
        "a: |\t\n  x\n",
    ];
    for text in wrong {
        let said = said(format!("#cloud-config\n{text}"));
        assert!(said.contains(": a tab where YAML wants blanks"), "{text:?}: {said}");
    }
    let right = [
        "a: |\n  x\ty\n  \tz\nb: 1\n",
        "a: >-\n  x\ty\n",
        "a: \"x\ty\"\n",
        "a: 'x\ty'\n",
        "a: 1 # c\td\n",
        "#\tc\na: 1\n",
        "ä: \"é\t\"\nb: |\n  \t1\n",
        "- a: |\n    \tx\n\n  b: 1\n",
    ];
    for text in right {
        let said = said(format!("#cloud-config\n{text}"));
        assert!(!said.contains("tab"), "{text:?}: {said}");
    }
}

#[test]
fn the_parts_of_a_multi_part_are_checked_too() {
    let wrong = MULTI_PART.replace("- [ls]", "  a: b");
    assert_eq!(said(&wrong), "line 12: runcmd has to be a list (`- …`), this is a mapping");
    let inner = "I2Nsb3VkLWNvbmZpZwpydW5jbWQ6IHgK"; // #cloud-config, runcmd: x
    let packed = MULTI_PART
        .replace("#cloud-config\nruncmd:\n- [ls]", inner)
        .replace("charset=\"us-ascii\"", "charset=\"us-ascii\"\nContent-Transfer-Encoding: base64");
    assert_eq!(
        said(&packed),
        "line 11, in the part: line 2: runcmd has to be a list (`- …`), this is a text"
    );
    assert_eq!(
        said(MULTI_PART.replace("boundary=\"==b==\"", "boundary=other")),
        "line 1: the boundary `other` is in none of the lines"
    );
    assert_eq!(
        said(MULTI_PART.replace("boundary=\"==b==\"", "x=y")),
        "line 1: a multi-part without a boundary"
    );
}

#[test]
fn what_is_no_text_is_refused() {
    assert_eq!(said(b"#cloud-config\na: 1\nb: \xff\n"), "line 3: not UTF-8");
    let mut broken = gzip("#cloud-config\na: 1\n");
    broken.truncate(20);
    assert!(said(&broken).starts_with("it begins like a gzip and cannot be unpacked: "), "{}", said(&broken));
    let bomb = gzip(&" ".repeat(17 << 20));
    assert_eq!(said(&bomb), "unpacked it is more than 16 MiB");
}

#[test]
fn a_directory_is_read_with_all_that_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("deep/er")).unwrap();
    fs::write(at("user-data"), "#cloud-config\na: 1\n").unwrap();
    fs::write(at("meta-data"), "").unwrap();
    fs::write(at("deep/er/file"), [0, 255]).unwrap();
    fs::write(at("deep/user-data"), "anything").unwrap();
    std::os::unix::fs::symlink(at("deep/er/file"), at("link")).unwrap();
    let own = UserFiles::read(directory.path()).unwrap();
    assert_eq!(own.user_data.as_deref(), Some(b"#cloud-config\na: 1\n".as_slice()));
    assert_eq!(own.meta_data, None);
    let others: Vec<_> = own.others.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    assert_eq!(others, ["deep/er/file", "deep/user-data", "link"]);
}

#[test]
fn a_directory_that_cannot_be_a_seed_is_refused_by_file() {
    let refusal = |make: &dyn Fn(&Path)| {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path());
        let error = UserFiles::read(directory.path()).unwrap_err().to_string();
        error.replace(directory.path().to_str().unwrap(), "DIR")
    };
    let errors = [
        refusal(&|dir| fs::write(dir.join("user-data"), "users: []\n").unwrap()),
        refusal(&|dir| fs::write(dir.join("meta-data"), "- a\n").unwrap()),
        refusal(&|dir| fs::write(dir.join("meta-data"), "a: b: c\n").unwrap()),
        refusal(&|dir| fs::write(dir.join("network-config"), [0xff]).unwrap()),
        refusal(&|dir| fs::create_dir(dir.join("mvpnet")).unwrap()),
        refusal(&|dir| std::os::unix::fs::symlink("nowhere", dir.join("link")).unwrap()),
        refusal(&|dir| std::os::unix::fs::symlink(".", dir.join("circle")).unwrap()),
        refusal(&|dir| drop(std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap())),
        refusal(&|dir| {
            fs::File::create(dir.join("large")).unwrap().set_len(MAX_TOTAL + 1).unwrap();
        }),
        refusal(&|dir| {
            fs::File::create(dir.join("user-data")).unwrap().set_len(MAX_DOCUMENT + 1).unwrap();
        }),
        UserFiles::read(Path::new("/nowhere/at/all")).unwrap_err().to_string(),
    ];
    let circle = |text: &str| text.replace(&"circle/".repeat(MAX_DEPTH), "circle/…/");
    insta::assert_snapshot!(errors.map(|error| circle(&error)).join("\n"));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(
        head in prop::sample::select(vec!["", "#cloud-config\n", "#cloud-config-archive\n", "MIME-Version: 1.0\nContent-Type: multipart/x; boundary=b\n\n--b\n"]),
        body in "[ -~\n\t\u{e4}]{0,80}|([a-z]{1,3}: ?|- |\n|  |\\[|\\{|\\}|\\]|&a |\\*a|\"|--b\n|--b--\n|\\| ?\n){0,30}",
    ) {
        let _ = UserData::parse(format!("{head}{body}").as_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = UserData::parse(&bytes);
    }
}
