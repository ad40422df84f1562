//! Lists of digests, as `sha256sum` and `sha512sum` write them and distributions publish them beside their images:
//! `HEX  NAME`, `HEX *NAME`, or `SHA256 (NAME) = HEX`. Lines that are none of these are passed over, so that a signed
//! list can be used as it is.

use std::path::Path;

use super::Digest;

/// Why a list says nothing of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// No line for it.
    #[error("has no sha256 or sha512 digest of {name}; add its line, or say it with -i {name},sha256=HEX")]
    Absent {
        /// The image's name.
        name: String,
    },
    /// Two files of that name.
    #[error("has different digests for files called {name}; say which it is with -i {name},sha256=HEX")]
    Ambiguous {
        /// The image's name.
        name: String,
    },
}

/// The digest of `image` in a list: that of the file of its name, the longest digest if there are several. Directories
/// in the list are not looked at: images are moved about.
pub fn listed(list: &str, image: &Path) -> Result<Digest, ListError> {
    let wanted = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found: Vec<Digest> = list
        .lines()
        .filter_map(entry)
        .filter(|(_, name)| Path::new(name).file_name().is_some_and(|name| *name == *wanted))
        .map(|(digest, _)| digest)
        .collect();
    found.sort();
    found.dedup();
    let Some(strongest) = found.last().cloned() else {
        return Err(ListError::Absent { name: wanted });
    };
    if found.iter().filter(|digest| digest.algorithm == strongest.algorithm).count() > 1 {
        return Err(ListError::Ambiguous { name: wanted });
    }
    Ok(strongest)
}

fn entry(line: &str) -> Option<(Digest, &str)> {
    let line = line.trim_end();
    if let Some((kind, rest)) = line.split_once(" (") {
        let (name, hex) = rest.rsplit_once(") = ")?;
        let digest = Digest::of_hex(hex)?;
        return kind.eq_ignore_ascii_case(&digest.algorithm.to_string()).then_some((digest, name));
    }
    let (hex, name) = line.split_once(' ')?;
    Some((Digest::of_hex(hex)?, name.strip_prefix([' ', '*'])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(list: &str) -> Result<String, ListError> {
        listed(list, Path::new("/images/deb 12.qcow2")).map(|digest| digest.hex)
    }

    #[test]
    fn all_usual_shapes_are_read() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        for list in [
            format!("{b}  other.qcow2\n{a}  deb 12.qcow2\n"),
            format!("{a} *deb 12.qcow2\r\n"),
            format!("{a}  ./amd64/deb 12.qcow2"),
            format!("SHA256 (deb 12.qcow2) = {a}"),
            format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{a}  deb 12.qcow2\n-----BEGIN"),
        ] {
            assert_eq!(find(&list), Ok(a.clone()), "{list}");
        }
        assert_eq!(find(&format!("{b}  deb 12.qcow2")), Ok(b.to_lowercase()));
    }

    #[test]
    fn the_longer_digest_counts() {
        let list = format!("{}  deb 12.qcow2\n{}  deb 12.qcow2\n", "a".repeat(64), "0".repeat(128));
        assert_eq!(find(&list), Ok("0".repeat(128)));
    }

    #[test]
    fn what_is_absent_or_has_two_meanings_is_an_error() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let says = |list: &str, part: &str| {
            let error = find(list).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        says("", "has no sha256 or sha512 digest of deb 12.qcow2");
        says(&format!("{a}  12.qcow2\n{a} deb 12.qcow2\n{}  deb 12.qcow2", "a".repeat(32)), "has no ");
        says(&format!("{a}  x/deb 12.qcow2\n{b}  y/deb 12.qcow2\n"), "different digests");
        assert_eq!(find(&format!("{a}  x/deb 12.qcow2\n{a}  y/deb 12.qcow2\n")), Ok(a));
    }
}
