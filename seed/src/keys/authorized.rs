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
                match key_at(rest) {
                    Ok(_) => line.len() - rest.len(),
                    // A line that meant to begin with its kind; or it has but one word.
                    Err(_)
                        if rest.is_empty()
                            || ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| line.starts_with(kind)) =>
                    {
                        return Err(plain);
                    }
                    Err(behind_options) => return Err(behind_options),
                }
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
        Some(name) if name == kind.as_bytes() && is_whole(kind, &octets) => {
            let data_at = text.find(data).expect("it is a word of the text");
            Ok(data_at + data.len())
        }
        Some(name) if !name.is_empty() && name.is_ascii() && name != kind.as_bytes() => {
            let name = shortened(&String::from_utf8_lossy(name)).to_owned();
            error(format!("the line says `{}` and its data `{name}`", shortened(kind)))
        }
        Some(name) if name == kind.as_bytes() => {
            error(format!("the data after `{}` are cut off, or a line is broken", shortened(kind)))
        }
        _ => error(format!("the data after `{}` are no key", shortened(kind))),
    }
}

/// Whether all of a key is there. The kinds known today are strings with their lengths in front (RFC 4253 §6.6, RFC 5656
/// §3.1, RFC 8709 §4); certificates and kinds to come have other fields too.
fn is_whole(kind: &str, octets: &[u8]) -> bool {
    const KNOWN: [&str; 4] = ["ssh-rsa", "ssh-dss", "ssh-ed25519", "sk-ssh-ed25519@openssh.com"];
    let ecdsa = ["ecdsa-sha2-", "sk-ecdsa-sha2-"].iter().any(|begin| kind.starts_with(begin));
    if kind.contains("-cert-") || !(ecdsa || KNOWN.contains(&kind)) {
        return octets.len() > 4 + kind.len();
    }
    let mut rest = octets;
    let mut strings = 0;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let Ok(length) = usize::try_from(u32::from_be_bytes(*length)) else { return false };
        let Some(next) = behind.get(length..) else { return false };
        rest = next;
        strings += 1;
    }
    rest.is_empty() && strings >= 2
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEN0oZVtcsVvlKnX2Lz7zvJmr4AbyvbnCbcc0S7Zc2SB";

    /// The data of a key of this kind, as far as anybody but sshd looks at them.
    fn key_of(kind: &str) -> String {
        let mut data = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        data.extend_from_slice(kind.as_bytes());
        data.extend_from_slice(&[0, 0, 0, 3, 1, 2, 3]);
        format!("{kind} {}", STANDARD.encode(data))
    }

    fn why(line: &str) -> String {
        AuthorizedKey::parse(line).unwrap_err().to_string()
    }

    #[test]
    fn keys_of_every_kind_are_taken() {
        let kinds = [
            "ssh-rsa",
            "ssh-dss",
            "ssh-ed25519",
            "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp384",
            "ecdsa-sha2-nistp521",
            "sk-ssh-ed25519@openssh.com",
            "sk-ecdsa-sha2-nistp256@openssh.com",
            "ssh-ed25519-cert-v01@openssh.com",
            "rsa-sha2-512-cert-v01@openssh.com",
            "ssh-mldsa44-ed25519@example.org",
        ];
        for kind in kinds {
            let line = format!("{} alice@laptop, at home", key_of(kind));
            let key = AuthorizedKey::parse(&line).unwrap_or_else(|error| panic!("{kind}: {error}"));
            assert_eq!(key.line(), line);
            assert_eq!(key.key(), key_of(kind));
        }
    }

    #[test]
    fn options_end_at_the_first_blank_outside_quotes() {
        let options = [
            "restrict",
            "no-pty,no-X11-forwarding",
            r#"command="echo \"a, b\" ssh-rsa",from="10.0.0.0/8,!10.1.1.1""#,
            "cert-authority,principals=\"alice,bob\"",
            "environment=\"A=b c\"\t",
            "expiry-time=\"20270101\",permitopen=\"[::1]:80\"",
        ];
        for option in options {
            let key = AuthorizedKey::parse(&format!("{option} {ED25519} a comment")).unwrap();
            assert_eq!(key.key(), ED25519, "{option}");
        }
    }

    #[test]
    fn lines_of_other_systems_are_keys_too() {
        for line in [format!("{ED25519}\r\n"), format!("  {ED25519}\t"), format!("\u{feff}{ED25519} a")] {
            assert_eq!(AuthorizedKey::parse(&line).unwrap().key(), ED25519);
        }
        assert_eq!(
            AuthorizedKey::parse(&format!("{ED25519} Jürgen")).unwrap().line(),
            format!("{ED25519} Jürgen")
        );
    }

    #[test]
    fn what_is_no_key_is_refused_with_a_reason() {
        insta::assert_snapshot!(
            [
                "",
                "# ssh-ed25519 AAAA",
                "-----BEGIN OPENSSH PRIVATE KEY-----",
                "PuTTY-User-Key-File-3: ssh-ed25519",
                "---- BEGIN SSH2 PUBLIC KEY ----",
                "hello",
                "ssh-ed25519",
                "ssh-ed25519 AAAA",
                "ssh-ed25519 not base64!",
                &ED25519.replace("ssh-ed25519", "ssh-rsa"),
                &ED25519[..60],
                "restrict",
                "restrict ssh-ed25519",
                "restrict ssh-ed25519 AAAA",
                &format!("command=\"unclosed {ED25519}"),
                &format!("{ED25519}\u{7}"),
                "1024 65537 1234567890 old@protocol",
            ]
            .map(|line| format!("{line:?}\n    {}", why(line)))
            .join("\n"),
        );
        assert!(why(&format!("{ED25519} {}", "x".repeat(MAX_LINE))).contains("at most 16384"));
    }

    #[test]
    fn a_file_gives_its_keys_once_and_a_warning_for_each_other_line() {
        let text =
            format!("\u{feff}# mine\r\n\r\n{ED25519} a\r\n{ED25519} a\n  nonsense\n{}", key_of("ssh-rsa"));
        let (keys, warnings) = AuthorizedKey::all_in(&text);
        assert_eq!(keys.len(), 2);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].to_string().starts_with("line 5: "), "{}", warnings[0]);
    }

    #[test]
    fn the_file_of_a_private_key_is_one_error() {
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----\n";
        let (keys, errors) = AuthorizedKey::all_in(text);
        assert!(keys.is_empty());
        assert_eq!(errors, [private_key()]);
    }

    proptest! {
        #[test]
        fn a_key_is_found_behind_any_options(
            words in prop::collection::vec("[a-z-]{1,8}(=\"([^\"\\\\\u{0}-\u{1f}\u{7f}-\u{9f}]|\\\\\")*\")?", 1..4),
            kind in "[a-z]{2,6}-[a-z0-9]{1,9}(@[a-z]{1,5}\\.org)?",
            comment in "[ -~]{0,20}",
        ) {
            let (options, key) = (words.join(","), key_of(&kind));
            let parsed = AuthorizedKey::parse(&format!("{options} {key} {comment}")).unwrap();
            prop_assert_eq!(parsed.key(), key);
        }

        #[test]
        fn nothing_makes_it_panic(line in any::<String>()) {
            let _ = AuthorizedKey::parse(&line);
            let _ = AuthorizedKey::all_in(&line);
        }

        #[test]
        fn a_line_that_is_taken_is_one_line(line in "[ -~\t\r\n]{0,40}") {
            let line = format!("{ED25519}{line}");
            if let Ok(key) = AuthorizedKey::parse(&line) {
                prop_assert!(!key.line().contains(['\r', '\n']));
            }
        }
    }
}
