//! The guests' disk image: whether it can be read, and what it is, by its first bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::finding::Verdict;
use super::machine::Machine;
use super::system::quoted;

/// What a file begins with, and what that makes it.
const MAGIC: &[(&[u8], usize, Format)] = &[
    (b"QFI\xfb", 0, Format::Qcow2),
    (b"KDMV", 0, Format::Other("vmdk")),
    (b"# Disk Descriptor", 0, Format::Other("vmdk")),
    (b"vhdxfile", 0, Format::Other("vhdx")),
    (b"\x7f\x10\xda\xbe", 0x40, Format::Other("vdi")),
    (b"\x1f\x8b", 0, Format::Packed { unpack: "gunzip -k", ending: "gz" }),
    (b"\xfd7zXZ\0", 0, Format::Packed { unpack: "unxz -k", ending: "xz" }),
    (b"\x28\xb5\x2f\xfd", 0, Format::Packed { unpack: "unzstd", ending: "zst" }),
    (b"BZh", 0, Format::Packed { unpack: "bunzip2 -k", ending: "bz2" }),
    (b"PK\x03\x04", 0, Format::Packed { unpack: "unzip", ending: "zip" }),
    (b"<!DOCTYPE", 0, Format::Page),
    (b"<html", 0, Format::Page),
    // The last two bytes of a boot sector: a partition table, or a boot loader at least.
    (b"\x55\xaa", 510, Format::Raw),
    // ISO 9660, volume descriptor.
    (b"CD001", 0x8001, Format::Other("iso")),
];

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// qemu's own.
    Qcow2,
    /// A disk's sectors.
    Raw,
    /// Another that qemu reads.
    Other(&'static str),
    /// Compressed: no guest boots from it.
    Packed {
        /// What unpacks it.
        unpack: &'static str,
        /// How its name ends.
        ending: &'static str,
    },
    /// A web page, that came in place of an image.
    Page,
    /// Nothing that is known: perhaps a disk without a boot loader.
    Unknown,
}

/// An image that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What it is.
    pub format: Format,
    /// Bytes in the file.
    pub len: u64,
    /// The image that a qcow2 is based on, and whether that can be read.
    pub base: Option<(PathBuf, bool)>,
}

/// An image, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub path: PathBuf,
    /// What is there.
    pub contents: Result<Contents, (io::ErrorKind, String)>,
}

impl Image {
    /// Looks into it. `argument` is as `-i` takes it: what follows a comma is not the path.
    pub fn read(argument: &Path) -> Self {
        let path = path_of(argument);
        let contents = contents(&path).map_err(|error| (error.kind(), error.to_string()));
        Self { path, contents }
    }

    /// Bytes in the file, if it can be read.
    pub fn bytes(&self) -> Option<u64> {
        self.contents.as_ref().ok().map(|contents| contents.len)
    }

    /// Whether guests can be expected to boot from it.
    pub fn check(&self, machine: &Machine) -> Verdict {
        let name = self.path.display();
        let path = quoted(&name.to_string());
        match &self.contents {
            Err((io::ErrorKind::NotFound, _)) => {
                let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
                let dir =
                    dir.and_then(|dir| dir.ancestors().find(|dir| dir.is_dir())).unwrap_or(Path::new("."));
                let list = format!("ls -l {}", quoted(&dir.display().to_string()));
                Verdict::failure(format!("{name} is not there"), Some(list))
            }
            Err((io::ErrorKind::PermissionDenied, _)) => {
                let mend = machine.as_root(&format!("chmod a+r {path}"));
                Verdict::failure(format!("{name} may not be read by {}", machine.user), Some(mend))
            }
            Err((_, error)) => Verdict::failure(format!("{name} cannot be read: {error}"), None),
            Ok(Contents { base: Some((base, false)), .. }) => {
                let list = format!("ls -l {}", quoted(&base.display().to_string()));
                Verdict::failure(
                    format!("{name} is based on {}, which cannot be read", base.display()),
                    Some(list),
                )
            }
            Ok(Contents { format: Format::Packed { unpack, ending }, .. }) => {
                Verdict::failure(format!("{name} is packed ({ending})"), Some(format!("{unpack} {path}")))
            }
            Ok(Contents { format: Format::Page, .. }) => {
                let seen = format!("{name} is a web page: the download gave no image");
                Verdict::failure(seen, Some(format!("head -c 2000 {path}")))
            }
            Ok(Contents { len: 0, .. }) => Verdict::failure(format!("{name} is empty"), None),
            Ok(Contents { format: Format::Unknown, .. }) => Verdict::warning(
                format!("{name} has no boot sector and is of no known format: qemu takes it for a raw disk"),
                Some(format!("qemu-img info {path}")),
            ),
            Ok(Contents { format, len, .. }) => {
                Verdict::ok(format!("{name} is {}, {}", format.name(), super::room::size(*len)))
            }
        }
    }
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Other(name) => name,
            Self::Packed { ending, .. } => ending,
            Self::Page => "a web page",
            Self::Unknown => "unknown",
        }
    }
}

/// The path in `PATH[,PROPERTY=VALUE]…`, in which `,,` is a comma.
fn path_of(argument: &Path) -> PathBuf {
    let Some(text) = argument.to_str() else { return argument.to_owned() };
    let kept = text.replace(",,", "\0");
    let path = kept.split(',').next().unwrap_or_default();
    let path = path.strip_prefix("file=").unwrap_or(path);
    path.replace('\0', ",").into()
}

fn contents(path: &Path) -> io::Result<Contents> {
    let mut file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let len = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    const HEAD: u64 = 0x8010;
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let format = format_of(&head);
    let base = if format == Format::Qcow2 { base(&mut file, &head, path)? } else { None };
    Ok(Contents { format, len, base })
}

fn format_of(head: &[u8]) -> Format {
    let is = |(magic, at, _): &&(&[u8], usize, Format)| head.get(*at..at + magic.len()) == Some(magic);
    MAGIC.iter().find(is).map_or(Format::Unknown, |(_, _, format)| *format)
}

/// The backing file of a qcow2, by its header (qemu's docs/interop/qcow2.txt: bytes 8-15 and 16-19).
fn base(file: &mut File, head: &[u8], path: &Path) -> io::Result<Option<(PathBuf, bool)>> {
    let number = |range: std::ops::Range<usize>| {
        head.get(range).map(|bytes| bytes.iter().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte)))
    };
    let (Some(offset), Some(len)) = (number(8..16), number(16..20)) else { return Ok(None) };
    // At most 1023 bytes, by the same document.
    if offset == 0 || len == 0 || len > 1023 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut name = vec![0; len as usize];
    file.read_exact(&mut name)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    // Names like `nbd:…` or `json:…` are no files.
    if name.split('/').next().is_some_and(|first| first.contains(':')) {
        return Ok(None);
    }
    let base = path.parent().unwrap_or(Path::new("")).join(name);
    let readable = File::open(&base).is_ok();
    Ok(Some((base, readable)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    fn image(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Image) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (dir, Image::read(&path))
    }

    fn check(name: &str, bytes: &[u8]) -> Verdict {
        image(name, bytes).1.check(&Machine::default())
    }

    /// A qcow2 header that names a base.
    fn qcow2(base: &str) -> Vec<u8> {
        let mut bytes = b"QFI\xfb\0\0\0\x03".to_vec();
        bytes.extend(64_u64.to_be_bytes());
        bytes.extend((base.len() as u32).to_be_bytes());
        bytes.resize(64, 0);
        bytes.extend(base.as_bytes());
        bytes
    }

    #[test]
    fn images_are_known_by_their_first_bytes() {
        assert!(check("a.qcow2", &qcow2("")).seen.ends_with("is qcow2, 64 bytes"));
        let mut raw = vec![0; 512];
        raw[510..].copy_from_slice(b"\x55\xaa");
        assert!(check("a.img", &raw).seen.contains("is raw"));
        assert_eq!(check("a.img", b"something else").status, Status::Warning);
        assert_eq!(check("a.img", b"").status, Status::Failure);
    }

    #[test]
    fn a_packed_image_is_to_be_unpacked() {
        let verdict = check("a.img.xz", b"\xfd7zXZ\0...");
        assert_eq!(verdict.status, Status::Failure);
        assert!(verdict.mend.unwrap().starts_with("unxz -k /"));
        assert!(check("a.img", b"<!DOCTYPE html>404").seen.contains("web page"));
    }

    #[test]
    fn a_qcow2_needs_its_base() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.qcow2");
        std::fs::write(&path, qcow2("base.img")).unwrap();
        let verdict = Image::read(&path).check(&Machine::default());
        assert!(verdict.seen.contains("base.img, which cannot be read"), "{}", verdict.seen);
        std::fs::write(dir.path().join("base.img"), "x").unwrap();
        assert_eq!(Image::read(&path).check(&Machine::default()).status, Status::Ok);
    }

    #[test]
    fn an_absent_image_shows_what_is_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let verdict = Image::read(&dir.path().join("no/a.img")).check(&Machine::default());
        assert_eq!(verdict.mend.unwrap(), format!("ls -l {}", dir.path().display()));
        assert!(Image::read(dir.path()).check(&Machine::default()).seen.contains("directory"));
    }

    #[test]
    fn the_path_is_what_stands_before_a_single_comma() {
        assert_eq!(path_of(Path::new("/a,,b.img,mvpctl=s")), Path::new("/a,b.img"));
        assert_eq!(path_of(Path::new("file=x.img,if=ide")), Path::new("x.img"));
    }
}
