//! ssh without a password: the keys of who looks, and whether a host lets him in.

use std::process::Command;
use std::time::Duration;

use super::finding::Verdict;
use super::machine::{Machine, Package};
use super::system::{Ran, System, quoted, run_for};
use super::wanted::{Peer, Wanted};

/// How long a login may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The keys that guests and hosts could let one in by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Lines in ~/.ssh/authorized_keys that are keys.
    pub authorized: usize,
    /// Key pairs in ~/.ssh, by the private key's path.
    pub pairs: Vec<String>,
    /// Keys that the agent has; none: there is no agent.
    pub agent: Option<usize>,
}

/// What came of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// It works.
    Works,
    /// There is no ssh.
    NoClient(String),
    /// It does not.
    Fails(String),
}

impl Keys {
    /// Looks.
    pub fn read(system: &System, home: &str) -> Self {
        let dir = format!("{home}/.ssh");
        let authorized = system.text(format!("{dir}/authorized_keys")).unwrap_or_default();
        let is_key = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        let names = system.names(&dir);
        let pairs = names.iter().filter_map(|name| name.strip_suffix(".pub"));
        let pairs = pairs.filter(|name| names.iter().any(|other| other == name));
        let agent = std::env::var_os("SSH_AUTH_SOCK").and_then(|_| match system.run("ssh-add", &["-l"]) {
            Ran::Ended { code: Some(0), out, .. } => Some(out.lines().count()),
            // It has none (ssh-add(1)).
            Ran::Ended { code: Some(1), .. } => Some(0),
            _ => None,
        });
        Self {
            authorized: authorized.lines().filter(is_key).count(),
            pairs: pairs.map(|name| format!("{dir}/{name}")).collect(),
            agent,
        }
    }

    /// Guests let in whoever the host's user lets in.
    pub fn check(&self) -> Verdict {
        let has_own = !self.pairs.is_empty() || self.agent.is_some_and(|keys| keys > 0);
        match (has_own, self.authorized) {
            (true, 1..) => {
                let agent = self.agent.filter(|keys| *keys > 0).map(|keys| format!(", the agent has {keys}"));
                let agent = agent.unwrap_or_default();
                Verdict::ok(format!("{} keys in authorized_keys{agent}", self.authorized))
            }
            (true, 0) => {
                let seen =
                    "~/.ssh/authorized_keys has no key: guests would let nobody in by the keys of this host";
                let add = match self.pairs.first() {
                    Some(pair) => format!("cat {}.pub >>~/.ssh/authorized_keys", quoted(pair)),
                    None => "ssh-add -L >>~/.ssh/authorized_keys".to_owned(),
                };
                Verdict::warning(seen, Some(format!("{add} && chmod 600 ~/.ssh/authorized_keys")))
            }
            (false, _) => {
                let seen = "neither a key in ~/.ssh nor an agent that has one: ssh asks for passwords";
                let mend = format!(
                    "{KEYGEN} && cat ~/.ssh/id_ed25519.pub >>~/.ssh/authorized_keys && chmod 600 ~/.ssh/authorized_keys"
                );
                Verdict::warning(seen, Some(mend))
            }
        }
    }
}

/// Makes a key without a passphrase.
const KEYGEN: &str = "mkdir -p -m 700 ~/.ssh && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519";

/// The command that starts on a host what is added to it.
pub fn command(wanted: &Wanted, host: &str) -> Command {
    let (program, options) =
        wanted.ssh.split_first().map_or(("ssh", &[][..]), |(first, rest)| (first.as_str(), rest));
    let mut command = Command::new(program);
    command.args(options).arg(host);
    command
}

impl Login {
    /// Tries.
    pub fn read(wanted: &Wanted, peer: &Peer) -> Self {
        match run_for(command(wanted, &peer.name).arg("true"), PATIENCE) {
            Ran::Ended { code: Some(0), .. } => Self::Works,
            Ran::Absent => Self::NoClient(wanted.ssh.first().cloned().unwrap_or_default()),
            Ran::Stuck(why) => Self::Fails(why),
            Ran::Ended { err, .. } => {
                // The last line is ssh's own; those before are banners and warnings.
                let changed = err.lines().find(|line| line.contains("IDENTIFICATION HAS CHANGED"));
                let last = err.lines().rev().find(|line| !line.trim().is_empty());
                Self::Fails(
                    changed.or(last).unwrap_or("it says nothing").trim_matches(['@', ' ', '\r']).to_owned(),
                )
            }
        }
    }

    /// Whether one gets in without a password.
    pub fn check(&self, machine: &Machine, keys: &Keys, peer: &Peer) -> Verdict {
        let name = &peer.name;
        match self {
            Self::Works => Verdict::ok(format!("ssh {name} works without a password")),
            Self::NoClient(program) => {
                let mend = machine.install(Package::Ssh);
                Verdict::failure(format!("there is no {program}"), mend)
            }
            Self::Fails(why) => Verdict::failure(
                format!("ssh {name} does not work without a password: {why}"),
                Some(mend(why, keys, peer)),
            ),
        }
    }
}

fn mend(why: &str, keys: &Keys, peer: &Peer) -> String {
    let (name, host) = (quoted(&peer.name), quoted(peer.host()));
    let accept = format!("ssh-keyscan {host} >>~/.ssh/known_hosts");
    if why.contains("HAS CHANGED") {
        // Who has changed it is for people to find out first.
        return format!("ssh-keygen -R {host} && {accept}");
    }
    if why.contains("Host key verification failed") || why.contains("host key is known") {
        return format!("mkdir -p -m 700 ~/.ssh && {accept}");
    }
    if why.contains("Permission denied") || why.contains("Too many authentication failures") {
        let has_key = !keys.pairs.is_empty() || keys.agent.is_some_and(|keys| keys > 0);
        let copy = format!("ssh-copy-id {name}");
        return if has_key { copy } else { format!("{KEYGEN} && {copy}") };
    }
    // Not reached, or not understood: what ssh itself tells is the next to see.
    format!("ssh -v {name} true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    fn peer() -> Peer {
        "ann@server2".parse().unwrap()
    }

    fn keys() -> Keys {
        Keys { authorized: 1, pairs: vec!["/home/ann/.ssh/id_ed25519".into()], agent: None }
    }

    #[test]
    fn keys_are_files_of_a_pair_and_lines_that_are_no_comments() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("home/ann/.ssh");
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in
            [("id_rsa", ""), ("id_rsa.pub", ""), ("old.pub", ""), ("authorized_keys", "# x\n\nkey a\n")]
        {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let read = Keys::read(&System::below(root.path()), "/home/ann");
        assert_eq!((read.authorized, read.pairs), (1, vec!["/home/ann/.ssh/id_rsa".to_owned()]));
    }

    #[test]
    fn without_a_key_one_is_made_and_without_authorized_keys_it_is_let_in() {
        assert_eq!(keys().check().status, Status::Ok);
        let unlisted = Keys { authorized: 0, ..keys() }.check();
        assert!(unlisted.mend.unwrap().starts_with("cat /home/ann/.ssh/id_ed25519.pub >>"));
        assert!(Keys::default().check().mend.unwrap().contains("ssh-keygen -q -t ed25519"));
        let agent = Keys { agent: Some(1), ..Keys::default() }.check();
        assert!(agent.mend.unwrap().starts_with("ssh-add -L >>"));
    }

    #[test]
    fn each_way_to_fail_has_its_own_remedy() {
        let mend = |why: &str, keys: &Keys| {
            let login = Login::Fails(why.to_owned());
            login.check(&Machine::default(), keys, &peer()).mend.unwrap()
        };
        let denied = "ann@server2: Permission denied (publickey,password).";
        assert_eq!(mend(denied, &keys()), "ssh-copy-id ann@server2");
        assert!(mend(denied, &Keys::default()).ends_with(" && ssh-copy-id ann@server2"));
        let unknown = mend("Host key verification failed.", &keys());
        assert!(unknown.ends_with("ssh-keyscan server2 >>~/.ssh/known_hosts"), "{unknown}");
        assert!(
            mend("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!", &keys())
                .starts_with("ssh-keygen -R server2")
        );
        assert_eq!(mend("Connection refused", &keys()), "ssh -v ann@server2 true");
    }

    #[test]
    fn a_login_is_tried_with_what_stands_for_ssh() {
        let wanted = |script: &str| Wanted {
            ssh: ["sh", "-c", script, "ssh"].map(str::to_owned).into(),
            ..Wanted::default()
        };
        assert_eq!(Login::read(&wanted("[ \"$1 $2\" = 'ann@server2 true' ]"), &peer()), Login::Works);
        let fails = Login::read(&wanted("echo banner >&2; echo 'Permission denied' >&2; exit 255"), &peer());
        assert_eq!(fails, Login::Fails("Permission denied".into()));
        let absent = Wanted { ssh: vec!["no-such-ssh".into()], ..Wanted::default() };
        assert_eq!(Login::read(&absent, &peer()), Login::NoClient("no-such-ssh".into()));
    }
}
