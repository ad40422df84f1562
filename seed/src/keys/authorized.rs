//! Lines of an `authorized_keys` file. Which kinds of keys there are is sshd's to know: a line is a key if its data
//! names the kind that the line names, so that kinds that nobody has thought of yet are let through.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::KeyError;

/// A line of an `authorized_keys` file (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"), options and comment included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey {
    line: String,
    /// Where in the line the key itself is, its kind and its data.
    key: (usize, usize),
}

/// sshd reads no longer lines (its SSH_MAX_PUBKEY_BYTES).
const MAX_LINE: usize = 16 * 1024;

impl AuthorizedKey {
    /// Reads one line.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line).trim();
        refuse_what_is_no_line(line)?;
        // A key without options begins with its kind; what does not is options, which end at a space outside quotes.
        let start = match key_at(line) {
            Ok(_) => 0,
            Err(plain) => {
                let options = end_of_options(line)?;
                let rest = line[options..].trim_start();
                if rest.is_empty() || key_at(rest).is_err() {
                    return Err(key_at(rest).err().filter(|_| !looks_like_kind(line)).unwrap_or(plain));
                }
                line.len() - rest.len()
            }
        };
        let end = start + key_at(&line[start..])?;
        Ok(Self { line: line.to_owned(), key: (start, end) })
    }

    /// The keys in the text of a file; comments, empty lines and lines that are no keys are left out, the last with a
    /// warning for each.
    pub fn all_in(text: &str) -> (Vec<Self>, Vec<KeyError>) {
        if text.contains("PRIVATE KEY-----") {
            return (Vec::new(), vec![private_key()]);
        }
        let mut keys: Vec<Self> = Vec::new();
        let mut errors = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match Self::parse(line) {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => keys.push(key),
                Err(KeyError(why)) => errors.push(KeyError(format!("line {}: {why}", index + 1))),
            }
        }
        (keys, errors)
    }

    /// The line.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The kind and the data, without options and comment.
    pub fn key(&self) -> &str {
        &self.line[self.key.0..self.key.1]
    }
}

fn refuse_what_is_no_line(line: &str) -> Result<(), KeyError> {
    let error = |why: &str| Err(KeyError(why.to_owned()));
    if line.is_empty() || line.starts_with('#') {
        return error("there is no key in it");
    }
    if line.contains("PRIVATE KEY-----") || line.starts_with("PuTTY-User-Key-File") {
        return Err(private_key());
    }
    if line.starts_with("---- BEGIN SSH2 PUBLIC KEY") {
        return error(
            "this is RFC 4716's format, not a line of authorized_keys: ssh-keygen -i -f FILE converts it",
        );
    }
    if line.len() > MAX_LINE {
        return Err(KeyError(format!("a line of {} bytes, sshd reads at most {MAX_LINE}", line.len())));
    }
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return error("there are control characters in it");
    }
    Ok(())
}

fn private_key() -> KeyError {
    KeyError("this is a private key, which stays where it is: give the public one, FILE.pub".to_owned())
}

/// The length of the key at the beginning of a text: its kind and its data.
fn key_at(text: &str) -> Result<usize, KeyError> {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let (Some(kind), data) = (words.next(), words.next()) else {
        return Err(KeyError("there is no key in it".to_owned()));
    };
    let error = |why: String| Err(KeyError(why));
    if !looks_like_kind(kind) {
        return error(format!(
            "`{}` is not the name of a kind of key, `ssh-ed25519` for instance",
            shortened(kind)
        ));
    }
    let Some(data) = data else {
        return error(format!("after `{}` the key's data are missing", shortened(kind)));
    };
    // RFC 4253 §6.6: the data begin with the name of the kind, its length in front. OpenSSH takes them unpadded too.
    let unpadded = data.trim_end_matches('=');
    let octets = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(unpadded)
        .or_else(|_| STANDARD.decode(data))
        .map_err(|_| KeyError(format!("the data after `{}` are not base64", shortened(kind))))?;
    let named = octets.split_at_checked(4).and_then(|(length, rest)| {
        let length = u32::from_be_bytes(length.try_into().ok()?);
        rest.get(..usize::try_from(length).ok()?)
    });
    match named {
        Some(name) if name == kind.as_bytes() && octets.len() > 4 + name.len() => {
            let data_at = text.find(data).expect("it is a word of the text");
            Ok(data_at + data.len())
        }
        Some(name) if !name.is_empty() && name.is_ascii() && name != kind.as_bytes() => {
            let name = shortened(&String::from_utf8_lossy(name)).to_owned();
            error(format!("the line says `{}` and its data `{name}`", shortened(kind)))
        }
        _ => error(format!("the data after `{}` are no key", shortened(kind))),
    }
}

/// Whether sshd could know a kind of this name: RFC 4251 §6 says what names look like.
fn looks_like_kind(word: &str) -> bool {
    word.len() <= 64
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "-@._+".contains(c))
        && (word.contains('-') || word.contains('@'))
}

/// Where options end: at the first blank outside quotes.
fn end_of_options(line: &str) -> Result<usize, KeyError> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok(index),
            _ => {}
        }
    }
    if quoted { Err(KeyError("a quote in its options is not closed".to_owned())) } else { Ok(line.len()) }
}

fn shortened(word: &str) -> &str {
    let end = word.char_indices().nth(40).map_or(word.len(), |(index, _)| index);
    &word[..end]
}
