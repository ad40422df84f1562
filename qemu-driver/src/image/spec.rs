//! The `-i` argument: `PATH,name=value,…`, of which `mvpctl=LETTERS`, `sha256=` and `sha512=` are ours and the rest is
//! qemu's, or `file=…,name=value,…`, all of it qemu's. A comma that belongs to a path or a value is doubled.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::digest::{Algorithm, Digest};

/// A parsed image argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSpec {
    /// A file that we look after.
    File {
        /// The path as given, its commas undoubled.
        path: PathBuf,
        /// Properties for qemu's `-drive`, undoubled, in order.
        properties: Vec<(OsString, OsString)>,
        /// What `mvpctl=` says; `None` stands for the default, which depends on there being a run directory.
        control: Option<Control>,
        /// What the file's contents have to be.
        digest: Option<Digest>,
    },
    /// Goes to qemu untouched.
    Verbatim(OsString),
}

/// The letters of `mvpctl=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// `c`: copy to the run directory.
    pub copy: bool,
    /// `j`: the job in the copy's name.
    pub job_in_copy: bool,
    /// `r`: the rank in the copy's name.
    pub rank_in_copy: bool,
    /// `d`: remove the copy at exit.
    pub delete_copy: bool,
    /// `J`: the job in the image's own name.
    pub job_in_source: bool,
    /// `R`: the rank in the image's own name.
    pub rank_in_source: bool,
    /// `D`: remove the image at exit.
    pub delete_source: bool,
    /// `p`: open read-only.
    pub read_only: bool,
    /// `s`: writes go to a temporary file of qemu's.
    pub snapshot: bool,
    /// `o`: writes go to an overlay of the rank's own.
    pub overlay: bool,
}

/// Why an image argument means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageSpecError {
    /// The argument or its path is empty.
    #[error("image `{spec}` has no file name")]
    NoPath {
        /// The argument.
        spec: String,
    },
    /// Something after the path has no `=`.
    #[error("image `{spec}`: `{part}` is not name=value (a comma in a file name is written `,,`)")]
    NotAProperty {
        /// The argument.
        spec: String,
        /// The part.
        part: String,
    },
    /// A second file beside the path.
    #[error("image `{spec}`: file= cannot stand behind a path")]
    TwoFiles {
        /// The argument.
        spec: String,
    },
    /// A letter that `mvpctl` does not know.
    #[error(
        "image `{spec}`: mvpctl has no letter `{letter}`; it has c (copy to the run directory), j and r (job and \
         rank in the copy's name), d (delete the copy at exit), J and R (job and rank in the image's name), \
         D (delete the image at exit), p (read-only), s (snapshot), o (overlay)"
    )]
    UnknownLetter {
        /// The argument.
        spec: String,
        /// The letter.
        letter: char,
    },
    /// A digest that is none.
    #[error("image `{spec}`: {algorithm} is {} hexadecimal digits, not `{value}`", algorithm.digits())]
    NotADigest {
        /// The argument.
        spec: String,
        /// Which digest.
        algorithm: Algorithm,
        /// What is given.
        value: String,
    },
    /// A second digest.
    #[error("image `{spec}`: one digest is enough")]
    DigestTwice {
        /// The argument.
        spec: String,
    },
    /// `mvpctl` given twice.
    #[error("image `{spec}`: mvpctl is given twice")]
    ControlTwice {
        /// The argument.
        spec: String,
    },
    /// `mvpctl` or a digest where there is no path of ours.
    #[error(
        "image `{spec}`: mvpctl, sha256 and sha512 need the form PATH,mvpctl=…; what begins with a property goes to \
         qemu untouched"
    )]
    ControlOnVerbatim {
        /// The argument.
        spec: String,
    },
}

impl ImageSpec {
    /// Reads an argument.
    pub fn parse(spec: &OsStr) -> Result<ImageSpec, ImageSpecError> {
        let shown = || spec.to_string_lossy().into_owned();
        let mut parts = split(spec.as_bytes()).into_iter();
        let first = parts.next().unwrap_or_default();
        if is_property(&first) {
            let ours = |part: &Vec<u8>| OURS.iter().any(|ours| part.starts_with(ours));
            return if ours(&first) || parts.any(|part| ours(&part)) {
                Err(ImageSpecError::ControlOnVerbatim { spec: shown() })
            } else {
                Ok(ImageSpec::Verbatim(spec.to_owned()))
            };
        }
        if first.is_empty() {
            return Err(ImageSpecError::NoPath { spec: shown() });
        }
        let mut properties = Vec::new();
        let mut control = None;
        let mut digest = None;
        for part in parts {
            let Some(equals) = part.iter().position(|&byte| byte == b'=') else {
                let part = String::from_utf8_lossy(&part).into_owned();
                return Err(ImageSpecError::NotAProperty { spec: shown(), part });
            };
            let (name, value) = (part[..equals].to_vec(), part[equals + 1..].to_vec());
            match name.as_slice() {
                b"file" => return Err(ImageSpecError::TwoFiles { spec: shown() }),
                b"mvpctl" if control.is_some() => {
                    return Err(ImageSpecError::ControlTwice { spec: shown() });
                }
                b"mvpctl" => {
                    let letters = String::from_utf8_lossy(&value);
                    let parsed = Control::parse(&letters)
                        .map_err(|letter| ImageSpecError::UnknownLetter { spec: shown(), letter })?;
                    control = Some(parsed);
                }
                b"sha256" | b"sha512" if digest.is_some() => {
                    return Err(ImageSpecError::DigestTwice { spec: shown() });
                }
                b"sha256" => digest = Some(read_digest(Algorithm::Sha256, &value, shown)?),
                b"sha512" => digest = Some(read_digest(Algorithm::Sha512, &value, shown)?),
                _ => properties.push((OsString::from_vec(name), OsString::from_vec(value))),
            }
        }
        Ok(ImageSpec::File { path: OsString::from_vec(first).into(), properties, control, digest })
    }
}

impl Control {
    /// What holds when nothing is said: an overlay where those are wanted, else a copy per job and rank if there is
    /// a run directory, else the image itself.
    pub(super) const fn default_with(run_dir: bool, overlay: bool) -> Control {
        let run_dir = run_dir && !overlay;
        Control {
            copy: run_dir,
            job_in_copy: run_dir,
            rank_in_copy: run_dir,
            delete_copy: run_dir,
            job_in_source: false,
            rank_in_source: false,
            delete_source: false,
            read_only: false,
            snapshot: false,
            overlay,
        }
    }

    fn parse(letters: &str) -> Result<Control, char> {
        let mut control = Control::default();
        for letter in letters.chars() {
            let field = match letter {
                'c' => &mut control.copy,
                'j' => &mut control.job_in_copy,
                'r' => &mut control.rank_in_copy,
                'd' => &mut control.delete_copy,
                'J' => &mut control.job_in_source,
                'R' => &mut control.rank_in_source,
                'D' => &mut control.delete_source,
                'p' => &mut control.read_only,
                's' => &mut control.snapshot,
                'o' => &mut control.overlay,
                unknown => return Err(unknown),
            };
            *field = true;
        }
        Ok(control)
    }
}

/// The properties that qemu never sees.
const OURS: [&[u8]; 3] = [b"mvpctl=", b"sha256=", b"sha512="];

fn read_digest(
    algorithm: Algorithm,
    value: &[u8],
    shown: impl Fn() -> String,
) -> Result<Digest, ImageSpecError> {
    let value = String::from_utf8_lossy(value);
    Digest::new(algorithm, &value).ok_or_else(|| ImageSpecError::NotADigest {
        spec: shown(),
        algorithm,
        value: value.into_owned(),
    })
}

/// The parts between single commas, with doubled ones undoubled.
fn split(spec: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = spec.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let doubled = byte == b',' && bytes.next_if_eq(&b',').is_some();
        if byte == b',' && !doubled {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(byte);
        }
    }
    parts
}

/// Whether the first part is a property of qemu's (`file=…`, `if=…`) and not a path: what stands before the
/// first `=` looks like a property's name. A path like that can be given as `./a=b`.
fn is_property(part: &[u8]) -> bool {
    match part.iter().position(|&byte| byte == b'=') {
        None | Some(0) => false,
        Some(equals) => part[..equals]
            .iter()
            .enumerate()
            .all(|(i, &b)| b.is_ascii_lowercase() || (i > 0 && (b.is_ascii_digit() || b"-_.".contains(&b)))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(spec: &str) -> Result<ImageSpec, ImageSpecError> {
        ImageSpec::parse(OsStr::new(spec))
    }

    fn file(spec: &str) -> (PathBuf, Vec<(OsString, OsString)>, Option<Control>) {
        match parse(spec).unwrap() {
            ImageSpec::File { path, properties, control, .. } => (path, properties, control),
            ImageSpec::Verbatim(value) => panic!("{value:?} went to qemu"),
        }
    }

    #[test]
    fn a_path_alone_leaves_the_control_to_the_default() {
        assert_eq!(file("/a/b.img"), ("/a/b.img".into(), vec![], None));
    }

    #[test]
    fn properties_other_than_mvpctl_are_for_qemu_in_order() {
        let (path, properties, control) = file("b.img,format=raw,mvpctl=cs,cache=none");
        assert_eq!(path, PathBuf::from("b.img"));
        assert_eq!(properties, [("format".into(), "raw".into()), ("cache".into(), "none".into())]);
        assert_eq!(control, Some(Control { copy: true, snapshot: true, ..Control::default() }));
    }

    #[test]
    fn no_letters_mean_nothing_is_done_even_with_a_run_directory() {
        assert_eq!(file("b.img,mvpctl=").2, Some(Control::default()));
    }

    #[test]
    fn doubled_commas_belong_to_the_path_or_the_value() {
        let (path, properties, _) = file("/a,,b.img,serial=x,,y,,,z=1");
        assert_eq!(path, PathBuf::from("/a,b.img"));
        assert_eq!(properties, [("serial".into(), "x,y,".into()), ("z".into(), "1".into())]);
    }

    #[test]
    fn a_first_property_sends_all_of_it_to_qemu() {
        for spec in ["file=/a,if=ide", "driver=raw,file.filename=x", "if=none,file=b"] {
            assert_eq!(parse(spec), Ok(ImageSpec::Verbatim(spec.into())));
        }
        assert_eq!(file("./a=b,c=d").0, PathBuf::from("./a=b"));
        assert_eq!(file("/x/file=b").0, PathBuf::from("/x/file=b"));
    }

    #[test]
    fn a_digest_is_ours_and_in_lower_case() {
        let hex = "0123456789ABCDEF".repeat(4);
        match parse(&format!("b.img,sha256={hex},format=raw")).unwrap() {
            ImageSpec::File { digest: Some(digest), properties, .. } => {
                assert_eq!(digest.to_string(), format!("sha256 {}", hex.to_lowercase()));
                assert_eq!(properties, [("format".into(), "raw".into())]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mistakes_are_named() {
        let says = |spec: &str, part: &str| {
            let message = parse(spec).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        says("", "has no file name");
        says(",if=ide", "has no file name");
        says("a.img,snapshot", "`snapshot` is not name=value");
        says("a.img,file=b", "file= cannot stand behind a path");
        says("a.img,mvpctl=cx", "no letter `x`");
        says("a.img,mvpctl=c,mvpctl=d", "given twice");
        says("a.img,sha256=12", "sha256 is 64 hexadecimal digits, not `12`");
        says(&format!("a.img,sha512={}", "g".repeat(128)), "sha512 is 128 hexadecimal digits");
        says(&format!("a.img,sha256={0},sha256={0}", "0".repeat(64)), "one digest is enough");
        says(&format!("file=a.img,sha256={}", "0".repeat(64)), "qemu untouched");
        says("file=a.img,mvpctl=c", "qemu untouched");
        says("mvpctl=c", "qemu untouched");
    }

    proptest! {
        #[test]
        fn no_argument_panics_and_doubling_round_trips(path in "[a-z,/=]{1,12}") {
            let _ = parse(&path);
            let spec = format!("/{},if=ide", path.replace(',', ",,"));
            prop_assert_eq!(file(&spec).0, PathBuf::from(format!("/{path}")));
        }
    }
}
