//! Copying an image: only the parts that hold data, by reference where the file system can.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::unistd::{Whence, lseek};

/// The most that is copied between two reports of progress.
const CHUNK: u64 = 16 << 20;
/// The buffer where the kernel cannot copy by itself.
const BUFFER: usize = 1 << 20;

/// The length of a file or block device in bytes.
pub(super) fn length(path: &Path) -> io::Result<u64> {
    File::open(path)?.seek(SeekFrom::End(0))
}

/// Copies all of `from` to the empty file `to`, whose holes stay holes. `report` is told how many bytes of
/// how many are done and says whether to go on.
pub(super) fn copy_sparse(
    from: &mut File,
    to: &File,
    report: &mut dyn FnMut(u64, u64) -> bool,
) -> io::Result<()> {
    let length = from.seek(SeekFrom::End(0))?;
    to.set_len(length)?;
    let mut at = 0;
    while let Some((start, end)) = next_data(from, at, length)? {
        at = start;
        while at < end {
            if !report(at, length) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            at += copy_some(from, to, at, (end - at).min(CHUNK))?;
        }
    }
    report(length, length);
    Ok(())
}

/// The next stretch of data at or after `at` (lseek(2), SEEK_DATA and SEEK_HOLE).
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= length {
        return Ok(None);
    }
    let seek = |to: u64, whence| lseek(file, to.cast_signed(), whence).map(i64::cast_unsigned);
    match seek(at, Whence::SeekData) {
        Ok(start) => {
            let end = seek(start, Whence::SeekHole).unwrap_or(length).min(length);
            // A hole where data was just found: the file changes under us. Take it as data to its end.
            Ok(Some((start, if end > start { end } else { length })))
        }
        Err(Errno::ENXIO) => Ok(None),
        // Devices and some file systems have no notion of holes.
        Err(_) => Ok(Some((at, length))),
    }
}

/// Copies some bytes at `at`, at least one and at most `most`.
fn copy_some(from: &File, to: &File, at: u64, most: u64) -> io::Result<u64> {
    let (mut source, mut target) = (at.cast_signed(), at.cast_signed());
    match copy_file_range(from, Some(&mut source), to, Some(&mut target), most as usize) {
        Ok(copied) if copied > 0 => Ok(copied as u64),
        Err(error @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EIO | Errno::EFBIG)) => Err(error.into()),
        // Across file systems on old kernels, from devices, or nothing at all on some network file systems.
        _ => {
            let mut buffer = vec![0; BUFFER.min(most as usize)];
            match from.read_at(&mut buffer, at)? {
                0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the image shrank meanwhile")),
                read => {
                    to.write_all_at(&buffer[..read], at)?;
                    Ok(read as u64)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn holes_stay_holes_and_every_byte_arrives() {
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(b"head").unwrap();
        from.write_all_at(b"middle", 5 << 20).unwrap();
        from.set_len(64 << 20).unwrap();
        let to = tempfile::tempfile().unwrap();
        let mut reports = Vec::new();
        copy_sparse(&mut from, &to, &mut |done, total| {
            reports.push((done, total));
            true
        })
        .unwrap();
        let metadata = to.metadata().unwrap();
        assert_eq!(metadata.len(), 64 << 20);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        let mut buffer = [0; 6];
        to.read_exact_at(&mut buffer, 5 << 20).unwrap();
        assert_eq!(&buffer, b"middle");
        to.read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"head\0\0");
        assert_eq!(reports.last(), Some(&(64 << 20, 64 << 20)));
        assert!(reports.is_sorted());
    }

    #[test]
    fn empty_files_and_files_of_holes_are_copied() {
        for length in [0, 1 << 20] {
            let mut from = tempfile::tempfile().unwrap();
            from.set_len(length).unwrap();
            let to = tempfile::tempfile().unwrap();
            copy_sparse(&mut from, &to, &mut |_, _| true).unwrap();
            assert_eq!(to.metadata().unwrap().len(), length);
        }
    }

    #[test]
    fn a_source_that_the_kernel_cannot_copy_is_read() {
        // copy_file_range(2) reports success with nothing copied, or EINVAL, for files of /proc.
        let from = File::open("/proc/self/maps").unwrap();
        let to = tempfile::tempfile().unwrap();
        assert!(copy_some(&from, &to, 0, 16).unwrap() > 0);
    }
}
