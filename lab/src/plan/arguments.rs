//! The command lines that a plan comes to.

use std::path::Path;

use mvpnet_transports::vxlan;
use serde::{Deserialize, Serialize};

use super::{Image, LabPlan, Ready, ServerPlan};

/// A word of a command line, of which a part may depend on the host where it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// What stands in front of the place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// A directory, if the word has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What stands behind it: all of a word that has none.
    pub text: String,
}

/// A directory that depends on the host, or on where the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The user's home there.
    Home,
    /// What the lab has there for as long as it runs.
    RunDir,
    /// Where the lab's file is. Paths that are not absolute start there, on all hosts.
    LabDir,
}

impl Word {
    /// A word that is the same everywhere.
    pub fn plain(text: impl Into<String>) -> Word {
        Word { before: String::new(), place: None, text: text.into() }
    }

    /// A file in the run directory.
    pub fn in_run_dir(before: impl Into<String>, name: impl std::fmt::Display) -> Word {
        Word { before: before.into(), place: Some(Place::RunDir), text: format!("/{name}") }
    }

    /// A path: absolute, in the home directory (`~/…`), or relative to the lab's file.
    pub(super) fn path(text: &str) -> Word {
        match text.strip_prefix('~') {
            Some(rest) if rest.starts_with('/') => {
                Word { before: String::new(), place: Some(Place::Home), text: rest.to_owned() }
            }
            _ if text.starts_with('/') => Word::plain(text),
            _ => Word { before: String::new(), place: Some(Place::LabDir), text: format!("/{text}") },
        }
    }

    /// The word with this place resolved; others stay.
    pub fn resolve(self, place: Place, directory: &Path) -> Word {
        if self.place != Some(place) {
            return self;
        }
        let text = format!("{}{}{}", self.before, directory.display(), self.text);
        Word { before: String::new(), place: None, text }
    }
}

impl LabPlan {
    /// The name of the job that a server's `mvpnet up` is.
    pub fn job_of(&self, server: &ServerPlan) -> String {
        format!("{}-{}", self.name, server.name)
    }

    /// What `mvpnet` is called with on the bridge's host. What the kernel switches needs no process that stays.
    pub fn bridge_arguments(&self) -> Vec<Word> {
        let bridge = &self.bridge;
        let mut words = Words::new(&["bridge"]);
        if bridge.kernel {
            words.flag("--kernel");
        }
        words.value("--name", &self.name);
        words.value("--vni", self.vnis());
        for server in &self.servers {
            words.value("--peer", format!("{}:{}", server.vnis(), bracketed(&server.address)));
        }
        if let Some(listen) = bridge.listen {
            words.value("--listen", listen);
        }
        words.port(bridge.vxlan_port);
        words.more(&bridge.flags)
    }

    /// What `mvpnet` is called with on a server that has guests.
    pub fn server_arguments(&self, server: &ServerPlan) -> Vec<Word> {
        let guest = &server.guest;
        let mut words = Words::new(&["up"]);
        words.value("--ranks", server.guests);
        words.value("--job", self.job_of(server));
        words.value("--remote", &self.bridge.address);
        words.value("--vni", server.vni);
        if let Some(listen) = server.listen {
            words.value("--listen", listen);
        }
        words.port(self.bridge.vxlan_port);
        words.value("--first-rank", server.first_rank);
        words.value("--world-size", self.world().size());
        words.add("--ready-file", Word::in_run_dir("", READY_FILE));
        if server.tap {
            words.flag("--tap");
        }
        if let Some(image) = &guest.image {
            words.add("--image", disposable(image, &guest.flags));
        }
        for (flag, path) in
            [("--kernel", &guest.kernel), ("--initrd", &guest.initrd), ("--cloud-init", &guest.cloud_init)]
        {
            if let Some(path) = path {
                words.add(flag, path.clone());
            }
        }
        if guest.is_configured() {
            for rank in server.ranks() {
                words.add("--cloud-init", Word::in_run_dir(format!("{rank}:"), format!("seed/{rank}")));
            }
        }
        if self.servers.len() > 1 {
            words.add("--keys", Word::in_run_dir("", KEYS_FILE));
        }
        words.optional("--append", guest.append.as_ref());
        words.optional("--memory", guest.memory_mib.as_ref());
        words.optional("--smp", guest.cpus.as_ref());
        words.optional("--user", guest.login().as_ref());
        words.optional("--ready", guest.ready.as_ref().map(ready_word).as_ref());
        words.more(&guest.flags)
    }
}

/// The file in the run directory that `mvpnet up` makes when all its guests are up.
pub const READY_FILE: &str = "ready.json";

/// The file in the run directory with the secret that the keys of all servers' guests follow from, where there are several.
pub const KEYS_FILE: &str = "keys";

/// An IPv6 address as it stands where a port may follow.
fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// An image that several guests can have: what they write goes to a snapshot, unless the user says otherwise.
fn disposable(image: &Image, flags: &[String]) -> Word {
    let is_copied = flags.iter().any(|flag| flag.starts_with("-r") || flag.starts_with("--run-dir"));
    match image.says_how || is_copied {
        true => image.word.clone(),
        false => Word { text: format!("{},mvpctl=s", image.word.text), ..image.word.clone() },
    }
}

fn ready_word(ready: &Ready) -> String {
    match ready {
        Ready::Ssh => "ssh".to_owned(),
        Ready::Console(text) => format!("console:{text}"),
        Ready::Started => "none".to_owned(),
    }
}

/// A command line that grows.
struct Words(Vec<Word>);

impl Words {
    fn new(words: &[&str]) -> Words {
        Words(words.iter().copied().map(Word::plain).collect())
    }

    fn flag(&mut self, flag: &str) {
        self.0.push(Word::plain(flag));
    }

    fn add(&mut self, flag: &str, word: Word) {
        self.0.extend([Word::plain(flag), word]);
    }

    fn value(&mut self, flag: &str, value: impl ToString) {
        self.add(flag, Word::plain(value.to_string()));
    }

    fn optional(&mut self, flag: &str, value: Option<&impl ToString>) {
        if let Some(value) = value {
            self.value(flag, value.to_string());
        }
    }

    fn port(&mut self, port: u16) {
        if port != vxlan::PORT {
            self.value("--vxlan-port", port);
        }
    }

    /// The whole, with the user's own flags last.
    fn more(mut self, flags: &[String]) -> Vec<Word> {
        self.0.extend(flags.iter().map(Word::plain));
        self.0
    }
}
