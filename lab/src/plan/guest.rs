//! What the guests are: images, sizes, names and users.

use std::ops::Range;

use mvpnet_qemu_driver::image::ImageSpec;
use mvpnet_settings::{Fault, Table, binary_size};

use super::arguments::Word;

const MIB: u64 = 1 << 20;
/// The most memory of a guest, in MiB: more is a slip.
const MEMORY_MIB_MAX: u64 = 64 << 20;
/// The longest prefix of host names, of which each label has at most 63 octets (RFC 1035 §2.3.4).
const NAMES_MAX: usize = 40;

/// What a server's guests are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    /// The disk that they boot from, as `--image` takes it.
    pub image: Option<Image>,
    /// Memory in MiB.
    pub memory_mib: Option<u32>,
    /// CPUs, as `--smp` takes them.
    pub cpus: Option<String>,
    /// Configuration of the user's own for cloud-init.
    pub cloud_init: Option<Word>,
    /// A kernel to boot without a boot loader.
    pub kernel: Option<Word>,
    /// Its initial ram disk.
    pub initrd: Option<Word>,
    /// Its command line.
    pub append: Option<String>,
    /// The name to log in with.
    pub user: Option<String>,
    /// What host names begin with, in place of `n`.
    pub names: Option<String>,
    /// When a guest counts as booted.
    pub ready: Option<Ready>,
    /// Who may log in, in guests that cloud-init configures.
    pub users: Vec<User>,
    /// More flags of `mvpnet up`.
    pub flags: Vec<String>,
}

/// A disk image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What `--image` takes.
    pub word: Word,
    /// Whether it says what becomes of the guest's writes, or leaves all to qemu.
    pub says_how: bool,
}

/// When a guest counts as booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// When it shows an ssh banner.
    Ssh,
    /// When its console shows a text.
    Console(String),
    /// At once.
    Started,
}

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// Public keys, as in `authorized_keys`.
    pub keys: Vec<String>,
    /// Whether sudo asks for no password.
    pub sudo: bool,
}

impl Guest {
    pub(super) const KEYS: &[&str] = &[
        "image",
        "memory",
        "cpus",
        "cloud-init",
        "kernel",
        "initrd",
        "append",
        "user",
        "names",
        "ready",
        "flags",
    ];
    /// The keys that a server may have for its own guests.
    pub(super) const KEYS_OF_SERVER: &[&str] = &["image", "memory", "cpus"];

    /// The host name of a rank's guest.
    pub fn name_of(&self, rank: u32) -> String {
        format!("{}{rank:04}", self.names.as_deref().unwrap_or("n"))
    }

    /// The name to log in with, if one is known.
    pub fn login(&self) -> Option<&str> {
        self.user.as_deref().or_else(|| self.users.first().map(|user| user.name.as_str()))
    }

    /// Whether the lab itself configures the guests, by cloud-init.
    pub fn is_configured(&self) -> bool {
        self.names.is_some() || !self.users.is_empty()
    }

    pub(super) fn read(table: &Table<'_>) -> Result<Guest, Fault> {
        table.knows(Guest::KEYS)?;
        let mut guest = Guest::default().with_sizes(table)?;
        guest.cloud_init = path(table, "cloud-init")?;
        guest.kernel = path(table, "kernel")?;
        guest.initrd = path(table, "initrd")?;
        guest.append = table.text("append")?.map(|(text, _)| text);
        guest.user = table.text("user")?.map(|(name, span)| login(name, &span)).transpose()?;
        guest.names = table.text("names")?.map(|(names, span)| prefix(names, &span)).transpose()?;
        guest.ready = table.text("ready")?.map(|(text, span)| ready(&text, &span)).transpose()?;
        guest.flags = flags(table, FLAGS_OF_LAB)?;
        Ok(guest)
    }

    /// The same with what else a table says of images and sizes.
    pub(super) fn with_sizes(mut self, table: &Table<'_>) -> Result<Guest, Fault> {
        if let Some((image, span)) = table.text("image")? {
            self.image = Some(image_of(&image, &span)?);
        }
        if let Some((size, span)) = table.text_or_number("memory")? {
            self.memory_mib = Some(memory_mib(&size, &span)?);
        }
        if let Some((cpus, span)) = table.text_or_number("cpus")? {
            self.cpus = Some(cpus_of(cpus, &span)?);
        }
        Ok(self)
    }
}

impl User {
    pub(super) fn read(table: &Table<'_>) -> Result<User, Fault> {
        table.knows(&["name", "keys", "sudo"])?;
        let suggestion = "write who may log in, like `name = \"ann\"`";
        let (name, span) = table.required("name", suggestion, Table::text)?;
        let name = login(name, &span)?;
        let keys = table.texts("keys")?;
        if keys.is_empty() {
            let suggestion = "write public keys, like `keys = [\"ssh-ed25519 AAAA… ann\"]`";
            return Err(Fault::new(table.span(), format!("nobody could log in as {name}"), suggestion));
        }
        let keys = keys.into_iter().map(|(key, span)| public_key(key, &span)).collect::<Result<_, _>>()?;
        Ok(User { name, keys, sudo: table.truth("sudo")?.is_none_or(|(sudo, _)| sudo) })
    }
}

/// Flags that follow from other keys of the file.
const FLAGS_OF_LAB: &[(&str, &str)] = &[
    ("-N", "guests"),
    ("--ranks", "guests"),
    ("--vni", "vni"),
    ("--remote", "host"),
    ("--listen", "listen"),
    ("--vxlan-port", "vxlan-port"),
    ("--tap", "tap"),
    ("-j", "name"),
    ("--job", "name"),
    ("--first-rank", "guests"),
    ("--world-size", "guests"),
    ("--ready-file", "ready"),
];

/// Flags as a list of words, but for those that other keys are for.
pub(super) fn flags(table: &Table<'_>, taken: &[(&str, &str)]) -> Result<Vec<String>, Fault> {
    let words = table.texts("flags")?;
    for (word, span) in &words {
        let flag = word.split('=').next().unwrap_or(word);
        if let Some((flag, key)) = taken.iter().find(|(taken, _)| *taken == flag) {
            let message = format!("`{flag}` is the lab's to set");
            return Err(Fault::new(span.clone(), message, format!("the key `{key}` is for that")));
        }
        if word.chars().any(char::is_control) {
            return Err(Fault::new(
                span.clone(),
                "a flag is one line",
                "write each flag and each value by itself",
            ));
        }
    }
    Ok(words.into_iter().map(|(word, _)| word).collect())
}

fn path(table: &Table<'_>, key: &'static str) -> Result<Option<Word>, Fault> {
    let Some((text, span)) = table.text(key)? else { return Ok(None) };
    if text.is_empty() || text.chars().any(char::is_control) {
        let suggestion = format!("write a path, or leave `{key}` out");
        return Err(Fault::new(span, format!("`{key}` names no file"), suggestion));
    }
    Ok(Some(Word::path(&text)))
}

fn image_of(text: &str, span: &Range<usize>) -> Result<Image, Fault> {
    let wrong = |why: String| {
        let suggestion = "write a path, like `image = \"debian.qcow2\"`, and what else `--image` takes";
        Fault::new(span.clone(), why, suggestion)
    };
    if text.chars().any(char::is_control) {
        return Err(wrong("an image is one line".to_owned()));
    }
    match ImageSpec::parse(text.as_ref()).map_err(|error| wrong(error.to_string()))? {
        ImageSpec::Verbatim(_) => Ok(Image { word: Word::plain(text), says_how: true }),
        ImageSpec::File { control, .. } => Ok(Image { word: Word::path(text), says_how: control.is_some() }),
    }
}

fn memory_mib(text: &str, span: &Range<usize>) -> Result<u32, Fault> {
    let bytes = binary_size(text, MIB);
    let mib = bytes.filter(|bytes| bytes % MIB == 0).map(|bytes| bytes / MIB);
    mib.filter(|mib| (1..=MEMORY_MIB_MAX).contains(mib)).and_then(|mib| u32::try_from(mib).ok()).ok_or_else(
        || {
            let suggestion = "write MiB as a plain number, or a whole size like \"512M\" or \"4G\"";
            Fault::new(span.clone(), format!("no guest can have `{text}` of memory"), suggestion)
        },
    )
}

fn cpus_of(text: String, span: &Range<usize>) -> Result<String, Fault> {
    let first = text.split(',').next().unwrap_or_default();
    let counts = first.strip_prefix("cpus=").unwrap_or(first).parse::<u32>().is_ok_and(|cpus| cpus > 0);
    if counts && !text.contains(char::is_whitespace) {
        return Ok(text);
    }
    let suggestion = "write a number, or a topology like \"4,sockets=2,cores=2\"";
    Err(Fault::new(span.clone(), format!("`{text}` is no number of CPUs"), suggestion))
}

fn login(name: String, span: &Range<usize>) -> Result<String, Fault> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(name);
    }
    Err(Fault::new(span.clone(), format!("`{name}` is no login name"), "write letters and digits only"))
}

fn prefix(names: String, span: &Range<usize>) -> Result<String, Fault> {
    let plain = names.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if plain && names.starts_with(|c: char| c.is_ascii_lowercase()) && names.len() <= NAMES_MAX {
        return Ok(names);
    }
    let suggestion = "write what they begin with, like \"node\": the guests are node0000, node0001 and so on";
    Err(Fault::new(span.clone(), format!("no host name begins with `{names}`"), suggestion))
}

fn ready(text: &str, span: &Range<usize>) -> Result<Ready, Fault> {
    match text.split_once(':') {
        None if text == "ssh" => Ok(Ready::Ssh),
        None if text == "none" => Ok(Ready::Started),
        Some(("console", what)) if !what.is_empty() && !what.chars().any(char::is_control) => {
            Ok(Ready::Console(what.to_owned()))
        }
        _ => {
            let suggestion =
                "write \"ssh\", \"console:TEXT\" (what shows on a console that is up) or \"none\"";
            Err(Fault::new(span.clone(), format!("nothing tells that a guest is up by `{text}`"), suggestion))
        }
    }
}

fn public_key(key: String, span: &Range<usize>) -> Result<String, Fault> {
    let mut words = key.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let is_kind = ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| kind.starts_with(prefix));
    if is_kind && words.next().is_some() && !key.chars().any(char::is_control) {
        return Ok(key);
    }
    let suggestion = "write one line of a .pub file, like \"ssh-ed25519 AAAA… ann\"";
    Err(Fault::new(span.clone(), "this is no public key", suggestion))
}
