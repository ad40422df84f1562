//! A file of peers: one a line, as on the command line; `#` begins a comment.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Peer, PeerError};

/// No file of peers is longer, in octets.
const LONGEST: u64 = 1 << 20;

/// Why a file gives no peers.
#[derive(Debug, thiserror::Error)]
pub enum PeersFileError {
    /// It cannot be read.
    #[error("the file of peers {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is something else.
    #[error("the file of peers {} is longer than {LONGEST} octets: is it the right one?", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A line is wrong.
    #[error("{}:{line}: {error}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        error: PeerError,
    },
}

/// The peers that a file names.
///
/// # Errors
/// It cannot be read, or a line names no peer.
pub fn read_peers(path: &Path) -> Result<Vec<Peer>, PeersFileError> {
    let unreadable = |error| PeersFileError::Unreadable { path: path.to_owned(), error };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LONGEST {
        return Err(PeersFileError::TooLong { path: path.to_owned() });
    }
    parse(&text).map_err(|(line, error)| PeersFileError::Line { path: path.to_owned(), line, error })
}

fn parse(text: &str) -> Result<Vec<Peer>, (usize, PeerError)> {
    let lines = text.lines().enumerate().map(|(place, line)| {
        let words = line.split_once('#').map_or(line, |(words, _)| words).trim();
        (place + 1, words)
    });
    let named = lines.filter(|(_, words)| !words.is_empty()).map(|(line, words)| {
        let peer: Peer = words.parse().map_err(|error| (line, error))?;
        Ok(Peer { line: Some(line), ..peer })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_peers_and_the_rest_is_comment() {
        let text = "# VM servers\n\n40-43:server1   # the old one\r\n\t60:[fd00::3]:14789\nserver4";
        let peers: Vec<String> = parse(text).unwrap().iter().map(Peer::to_string).collect();
        assert_eq!(peers, ["40-43:server1", "60:[fd00::3]:14789", "server4"]);
        assert_eq!(parse(text).unwrap()[1].line, Some(4));
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers");
        std::fs::write(&path, "40:server1\n41:\n").unwrap();
        let error = read_peers(&path).unwrap_err().to_string();
        assert!(error.ends_with("peers:2: `41:` names no host: write HOST, 40-43:HOST or 40-43:HOST:PORT"));
        let error = read_peers(&directory.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none: No such file or directory"), "{error}");
        assert!(read_peers(Path::new("/dev/zero")).unwrap_err().to_string().contains("longer than 1048576"));
    }
}
