//! What kind of image a file is, by its first bytes, where nobody says it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Formats by their magic numbers, with qemu's names. What has none of them is raw.
const MAGIC: &[(&[u8], usize, &str)] = &[
    (b"QFI\xfb\0\0\0\x01", 0, "qcow"),
    (b"QFI\xfb", 0, "qcow2"),
    (b"KDMV", 0, "vmdk"),
    (b"COWD", 0, "vmdk"),
    (b"# Disk DescriptorFile", 0, "vmdk"),
    (b"vhdxfile", 0, "vhdx"),
    (b"conectix", 0, "vpc"),
    (b"QED\0", 0, "qed"),
    (b"\x7f\x10\xda\xbe", 0x40, "vdi"),
    (b"WithoutFreeSpace", 0, "parallels"),
    (b"WithouFreSpacExt", 0, "parallels"),
];

/// What a file's beginning says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    /// qemu's name of the format.
    pub(super) format: &'static str,
    /// The other file that it says it is based on, or has its data in.
    pub(super) refers_to: Option<PathBuf>,
}

/// Looks at a file's beginning. A guest may have written that: what it `refers_to` is not to be believed without
/// being asked for, or a guest with a raw disk could have its next self read any file of its user's.
pub(super) fn probe(path: &Path) -> io::Result<Probed> {
    let file = File::open(path)?;
    let mut head = vec![0; 512];
    let read = read_some(&file, &mut head, 0)?;
    head.truncate(read);
    let is =
        |(magic, at, _): &&(&[u8], usize, &str)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    let format = MAGIC.iter().find(is).map_or("raw", |(_, _, format)| format);
    let refers_to = if format == "qcow2" { refers_to(&file, &head)? } else { None };
    Ok(Probed { format, refers_to })
}

/// The backing file of a qcow2 image, or its external data file (qcow2 specification, header and header extensions).
fn refers_to(file: &File, head: &[u8]) -> io::Result<Option<PathBuf>> {
    let number = |at: usize, len: usize| -> u64 {
        let bytes = head.get(at..at + len).unwrap_or_default();
        bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (offset, size) = (number(8, 8), number(16, 4));
    if offset != 0 {
        // At most 1023 bytes, says the specification.
        let mut name = vec![0; size.min(1023) as usize];
        let read = read_some(file, &mut name, offset)?;
        name.truncate(read);
        return Ok(Some(OsString::from_vec(name).into()));
    }
    // Incompatible feature bit 2, which versions from 3 on have.
    let has_data_file = number(4, 4) >= 3 && number(72, 8) & 4 != 0;
    Ok(has_data_file.then(|| "an external data file".into()))
}

fn read_some(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], at + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn probed(bytes: &[u8]) -> Probed {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("a");
        fs::write(&image, bytes).unwrap();
        probe(&image).unwrap()
    }

    /// A qcow2 header of version 3.
    fn qcow2(backing: (u64, u32), features: u64) -> Vec<u8> {
        let mut head = b"QFI\xfb\0\0\0\x03".to_vec();
        head.extend(backing.0.to_be_bytes());
        head.extend(backing.1.to_be_bytes());
        head.resize(72, 0);
        head.extend(features.to_be_bytes());
        head.resize(104, 0);
        head
    }

    #[test]
    fn formats_are_known_by_their_magic_and_all_else_is_raw() {
        assert_eq!(probed(b"").format, "raw");
        assert_eq!(probed(&[0; 4096]).format, "raw");
        assert_eq!(probed(b"QFI").format, "raw");
        assert_eq!(probed(b"KDMV\x01\0\0\0").format, "vmdk");
        let mut vdi = vec![b'<'; 0x40];
        vdi.extend(b"\x7f\x10\xda\xbe");
        assert_eq!(probed(&vdi).format, "vdi");
        assert_eq!(probed(&qcow2((0, 0), 0)), Probed { format: "qcow2", refers_to: None });
    }

    #[test]
    fn other_files_that_a_qcow2_names_are_seen() {
        let mut image = qcow2((104, 11), 0);
        image.extend(b"/etc/shadow and more");
        assert_eq!(probed(&image).refers_to, Some("/etc/shadow".into()));
        assert!(probed(&qcow2((0, 0), 4)).refers_to.is_some());
        // A name that is cut off or out of bounds is one too.
        assert!(probed(&qcow2((1 << 40, u32::MAX), 0)).refers_to.is_some());
    }
}
