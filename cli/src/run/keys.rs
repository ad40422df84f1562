//! By which keys the guests of a job know each other, and who may enter them as whom: rank 0 finds out, and tells all ranks in
//! its briefing.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mvpnet_node::job::Problem;
use mvpnet_seed::{AuthorizedKey, JobSecret};
use serde::{Deserialize, Serialize};

use super::problem::{unable, wrong};
use crate::args::GuestOptions;

/// The most that keys may have together, in octets: they travel in one message to every rank.
const KEYS_MAX: usize = 24 << 10;

/// What rank 0 tells all ranks.
#[derive(Clone, PartialEq, Eq)]
pub struct Briefing {
    /// What all keys of the job follow from.
    pub secret: JobSecret,
    /// Who may enter the guests.
    pub authorized_keys: Vec<AuthorizedKey>,
    /// The login name in all guests. People have other names on other hosts.
    pub user: Option<String>,
}

/// The same as it travels.
#[derive(Serialize, Deserialize)]
struct Written {
    secret: String,
    authorized_keys: Vec<String>,
    user: Option<String>,
}

impl Briefing {
    /// Finds it out on this host. Besides it come notes for the user.
    pub fn find(
        user: Option<&str>,
        options: &GuestOptions,
        home: Option<&Path>,
    ) -> Result<(Self, Vec<String>), Problem> {
        let secret = match &options.keys {
            Some(path) => {
                secret_in(path).map_err(|why| wrong(format!("--keys {}: {why}", path.display())))?
            }
            None => {
                new_secret().map_err(|error| unable(format!("no randomness for the job's keys: {error}")))?
            }
        };
        let (authorized_keys, notes) = match &options.authorized_keys {
            Some(path) => {
                let (keys, notes) = keys_in(path)?;
                let octets: usize = keys.iter().map(|key| key.line().len()).sum();
                if octets > KEYS_MAX {
                    let shown = path.display();
                    return Err(wrong(format!(
                        "--authorized-keys {shown}: its keys have {octets} bytes, and at most {KEYS_MAX} fit"
                    )));
                }
                (keys, notes)
            }
            None => own_keys(home),
        };
        Ok((Self { secret, authorized_keys, user: user.map(str::to_owned) }, notes))
    }

    /// As text, for the other ranks.
    pub fn text(&self) -> String {
        let authorized_keys = self.authorized_keys.iter().map(|key| key.line().to_owned()).collect();
        let written = Written { secret: self.secret.to_hex(), authorized_keys, user: self.user.clone() };
        serde_json::to_string(&written).expect("text is what JSON can say")
    }

    /// From rank 0's text.
    pub fn read(text: &str) -> Result<Self, String> {
        let written: Written =
            serde_json::from_str(text).map_err(|error| format!("rank 0's briefing is none: {error}"))?;
        let keys = written.authorized_keys.iter().map(|line| AuthorizedKey::parse(line));
        let authorized_keys = keys.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let secret = JobSecret::from_hex(&written.secret).map_err(|error| error.to_string())?;
        Ok(Self { secret, authorized_keys, user: written.user })
    }
}

/// The home directory of who runs this.
pub fn home() -> Option<PathBuf> {
    let named = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    named.or_else(|| nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.dir))
}

fn new_secret() -> std::io::Result<JobSecret> {
    let mut octets = [0; 32];
    // What getrandom(2) gives, by a way that needs no crate.
    File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(JobSecret::new(octets))
}

/// The secret in a file, which is made if it is not there. Two jobs that make it at once have the same.
fn secret_in(path: &Path) -> Result<JobSecret, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let mode = path.metadata().map_err(|error| error.to_string())?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(format!(
                    "others can read it (mode {:03o}), and who can read it can enter the guests: chmod 600 it",
                    mode & 0o777
                ));
            }
            JobSecret::from_hex(text.trim()).map_err(|error| error.to_string())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make_secret(path),
        Err(error) => Err(error.to_string()),
    }
}

fn make_secret(path: &Path) -> Result<JobSecret, String> {
    let secret = new_secret().map_err(|error| error.to_string())?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let placed = (|| {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        writeln!(file, "{}", secret.to_hex())?;
        file.persist_noclobber(path).map_err(|error| error.error)
    })();
    match placed {
        Ok(_) => Ok(secret),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => secret_in(path),
        Err(error) => Err(error.to_string()),
    }
}

/// The keys in a file that was named.
fn keys_in(path: &Path) -> Result<(Vec<AuthorizedKey>, Vec<String>), Problem> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("--authorized-keys {shown}: {error}")))?;
    let (keys, troubles) = AuthorizedKey::all_in(&text);
    let notes: Vec<String> =
        troubles.iter().map(|trouble| format!("--authorized-keys {shown}: {trouble}")).collect();
    if keys.is_empty() {
        let why = notes.into_iter().next();
        return Err(wrong(
            why.unwrap_or_else(|| format!("--authorized-keys {shown}: there is no key in it")),
        ));
    }
    Ok((keys, notes))
}

/// The keys by which the user enters other hosts, and this one.
fn own_keys(home: Option<&Path>) -> (Vec<AuthorizedKey>, Vec<String>) {
    let mut keys: Vec<AuthorizedKey> = Vec::new();
    let directory = home.map(|home| home.join(".ssh"));
    let public = directory.iter().flat_map(|directory| std::fs::read_dir(directory).into_iter().flatten());
    let mut public: Vec<PathBuf> = public
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "pub"))
        .collect();
    public.sort();
    let files = directory.iter().map(|directory| directory.join("authorized_keys")).chain(public);
    for path in files {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let (found, troubles) = AuthorizedKey::all_in(&text);
        for trouble in troubles {
            tracing::warn!("{}: {trouble}", path.display());
        }
        for key in found {
            // A certificate is known by its authority, not by itself.
            let is_certificate =
                key.line().split_whitespace().next().is_some_and(|kind| kind.contains("-cert-"));
            if !is_certificate && !keys.iter().any(|known| known.key() == key.key()) {
                keys.push(key);
            }
        }
    }
    let found = keys.len();
    let mut room = KEYS_MAX;
    keys.retain(|key| match room.checked_sub(key.line().len()) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    });
    if keys.len() < found {
        let note = format!(
            "{} of your {found} keys get into the guests, which is all that fits: choose others with --authorized-keys \
             FILE",
            keys.len()
        );
        return (keys, vec![note]);
    }
    let note = "no key of yours was found in ~/.ssh: `mvpnet ssh` gets into the guests with the job's own key; name others \
                with --authorized-keys FILE";
    let notes = if keys.is_empty() { vec![note.to_owned()] } else { Vec::new() };
    (keys, notes)
}

#[cfg(test)]
mod tests;
