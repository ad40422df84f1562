//! Whose keys open the guests.

use std::fs;

use super::*;
use crate::command_line::{Invocation, parse};

const ANN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAHlKDYD2PaR1b8mt+zd59N5HUr5slTxeHbGAxjzcU1l";
const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJNg54EyD5Tp/nLVyr2v98akiFBgQXNC4MJXS8roBsRF";

fn options(flags: &str) -> GuestOptions {
    let words = format!("mvpnet -i x {flags}");
    match parse(words.split_whitespace().map(Into::into)) {
        Ok(Invocation::Launch(options)) => options.shared.guests,
        other => panic!("{flags}: {other:?}"),
    }
}

fn lines(briefing: &Briefing) -> Vec<&str> {
    briefing.authorized_keys.iter().map(AuthorizedKey::line).collect()
}

#[test]
fn the_keys_of_the_home_directory_open_the_guests_each_once() {
    let home = tempfile::tempdir().unwrap();
    let ssh = home.path().join(".ssh");
    fs::create_dir(&ssh).unwrap();
    fs::write(ssh.join("authorized_keys"), format!("# mine\nfrom=\"10.0.0.1\" {BOB} bob\nno key\n")).unwrap();
    fs::write(ssh.join("id_ed25519.pub"), format!("{ANN} ann@host\n")).unwrap();
    fs::write(ssh.join("copy.pub"), format!("{ANN} the same\n")).unwrap();
    fs::write(ssh.join("id_ed25519"), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let (briefing, notes) = Briefing::find(Some("ann"), &options(""), Some(home.path())).unwrap();
    assert_eq!(lines(&briefing), [format!("from=\"10.0.0.1\" {BOB} bob"), format!("{ANN} the same")]);
    assert_eq!(notes, [""; 0]);
}

#[test]
fn without_a_key_there_is_a_note_and_the_job_s_own() {
    let home = tempfile::tempdir().unwrap();
    for home in [Some(home.path()), None] {
        let (briefing, notes) = Briefing::find(Some("ann"), &options(""), home).unwrap();
        assert!(
            briefing.authorized_keys.is_empty() && notes[0].contains("--authorized-keys FILE"),
            "{notes:?}"
        );
    }
}

#[test]
fn a_file_that_was_named_has_to_have_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    let named = options(&format!("--authorized-keys {}", file.display()));
    let find = || Briefing::find(Some("ann"), &named, None).map_err(|problem| problem.text);
    assert!(find().err().unwrap().contains("No such file"));
    fs::write(&file, "\n# nobody\n").unwrap();
    assert!(find().err().unwrap().contains("there is no key in it"));
    fs::write(&file, format!("{ANN}\nssh-ed25519 AAAA\n")).unwrap();
    let (briefing, notes) = find().unwrap();
    assert_eq!(lines(&briefing), [ANN]);
    assert!(notes[0].contains("line 2"), "{notes:?}");
    fs::write(&file, format!("command=\"{}\" {ANN}\n", "x".repeat(8000)).repeat(1)).unwrap();
    find().unwrap();
    let many: String =
        (0..4).map(|number| format!("command=\"{}{number}\" {ANN}\n", "x".repeat(8000))).collect();
    fs::write(&file, many).unwrap();
    assert!(find().err().unwrap().contains("at most 24576 fit"));
}

#[test]
fn the_secret_in_a_file_is_made_once_and_nobody_else_s_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    let named = options(&format!("--keys {}", file.display()));
    let find = || {
        Briefing::find(Some("ann"), &named, None)
            .map(|(briefing, _)| briefing)
            .map_err(|problem| problem.text)
    };
    let first = find().unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(find().unwrap() == first);
    let (other, _) = Briefing::find(Some("ann"), &options(""), None).unwrap();
    assert!(other.secret != first.secret);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(find().err().unwrap().contains("chmod 600"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "12").unwrap();
    assert!(find().err().unwrap().contains("64 hexadecimal digits"));
}

#[test]
fn what_rank_0_says_is_understood_by_all() {
    let briefing = Briefing {
        secret: JobSecret::new([7; 32]),
        authorized_keys: vec![AuthorizedKey::parse(ANN).unwrap()],
        user: Some("ann".to_owned()),
    };
    assert!(Briefing::read(&briefing.text()).is_ok_and(|read| read == briefing));
    for text in ["", "{}", "{\"secret\":\"1\",\"authorized_keys\":[]}"] {
        assert!(Briefing::read(text).is_err(), "{text}");
    }
}
