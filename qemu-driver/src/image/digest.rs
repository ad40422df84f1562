//! Digests of images: what a file's contents have to be, and whether they are.
//!
//! Reading an image takes long, so what was found is kept in a file per image, and holds as long as the image's
//! size, times and inode are the same.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use super::{ImageError, copy, unusable};

mod list;

pub use list::{ListError, listed};

/// Read at a time.
const CHUNK: usize = 1 << 20;

/// How a digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-512 (FIPS 180-4).
    Sha512,
}

impl Algorithm {
    /// How many hexadecimal digits it gives.
    pub const fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        })
    }
}

/// A digest, as people write them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest {
    /// How it is made.
    pub algorithm: Algorithm,
    /// Hexadecimal, in lower case.
    pub hex: String,
}

impl Digest {
    /// None if `hex` has not the digits that it should have.
    pub fn new(algorithm: Algorithm, hex: &str) -> Option<Self> {
        let is_one = hex.len() == algorithm.digits() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| Self { algorithm, hex: hex.to_ascii_lowercase() })
    }

    /// By the number of its digits.
    fn of_hex(hex: &str) -> Option<Self> {
        [Algorithm::Sha256, Algorithm::Sha512].into_iter().find_map(|algorithm| Self::new(algorithm, hex))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.hex)
    }
}

/// The directory in which digests are kept, if the user has a place for such things (XDG Base Directory
/// Specification).
pub fn cache_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("mvpnet/digests"))
}

/// Fails unless the contents of `image` are as `wanted` says. What they are is looked up and kept in `cache`, if there
/// is such a directory. `progress` is told how many bytes of how many are read.
pub fn verify(
    image: &Path,
    wanted: &Digest,
    cache: Option<&Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ImageError> {
    let failed = |error| unusable(image, "cannot be read", error);
    let path = image.canonicalize().map_err(failed)?;
    let metadata = path.metadata().map_err(failed)?;
    let entry = cache.map(|dir| Entry::place(dir, &path, wanted.algorithm));
    let known = entry.as_ref().and_then(|entry| Entry::read(entry, &path, &metadata));
    let found = match known {
        Some(hex) => hex,
        None => {
            let hex = compute(&path, wanted.algorithm, progress).map_err(failed)?;
            let after = path.metadata().map_err(failed)?;
            if stamp(&after) != stamp(&metadata) {
                return Err(ImageError::Changing { image: image.to_owned() });
            }
            if let Some(entry) = entry
                && let Err(error) = Entry::write(&entry, &path, &metadata, &hex)
            {
                tracing::debug!("the digest of {} is not kept: {error}", image.display());
            }
            hex
        }
    };
    if found == wanted.hex {
        return Ok(());
    }
    Err(ImageError::Digest { image: image.to_owned(), wanted: wanted.clone(), found })
}

fn compute(path: &Path, algorithm: Algorithm, progress: &mut dyn FnMut(u64, u64)) -> io::Result<String> {
    match algorithm {
        Algorithm::Sha256 => read_through::<Sha256>(path, progress),
        Algorithm::Sha512 => read_through::<Sha512>(path, progress),
    }
}

fn read_through<D: sha2::Digest>(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> io::Result<String> {
    let total = copy::length(path)?;
    let mut file = File::open(path)?;
    let mut digest = D::new();
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    loop {
        progress(done, total);
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                digest.update(&buffer[..read]);
                done += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What changes when a file is written to, whatever its times are set to: ctime cannot be set.
fn stamp(metadata: &Metadata) -> [i64; 6] {
    [
        metadata.size().cast_signed(),
        metadata.ino().cast_signed(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ]
}

/// A digest that was found before.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// The bytes of the image's path: those of the file's name are a digest.
    path: Vec<u8>,
    stamp: [i64; 6],
    hex: String,
}

impl Entry {
    fn place(dir: &Path, image: &Path, algorithm: Algorithm) -> PathBuf {
        let name = hex(&Sha256::digest(image.as_os_str().as_bytes()));
        dir.join(format!("{}.{algorithm}.json", &name[..32]))
    }

    fn read(place: &Path, image: &Path, metadata: &Metadata) -> Option<String> {
        let entry: Self = serde_json::from_slice(&std::fs::read(place).ok()?).ok()?;
        // A block device's times say nothing of its contents.
        let holds = metadata.is_file()
            && entry.path == image.as_os_str().as_bytes()
            && entry.stamp == stamp(metadata);
        holds.then_some(entry.hex)
    }

    fn write(place: &Path, image: &Path, metadata: &Metadata, hex: &str) -> io::Result<()> {
        let path = image.as_os_str().as_bytes().to_vec();
        let entry = Self { path, stamp: stamp(metadata), hex: hex.to_owned() };
        if let Some(dir) = place.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let part = place.with_extension(format!("{}.part", std::process::id()));
        std::fs::write(&part, serde_json::to_vec(&entry)?)?;
        std::fs::rename(&part, place)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// FIPS 180-2, appendices B.1 and C.1.
    const ABC_256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const ABC_512: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                           2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    fn check(image: &Path, hex: &str, cache: Option<&Path>) -> (Result<(), ImageError>, bool) {
        let mut was_read = false;
        let wanted = Digest::of_hex(hex).unwrap();
        let result = verify(image, &wanted, cache, &mut |_, _| was_read = true);
        (result, was_read)
    }

    #[test]
    fn contents_are_compared_and_both_values_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("a.img");
        fs::write(&image, "abc").unwrap();
        check(&image, ABC_256, None).0.unwrap();
        check(&image, &ABC_512.to_uppercase(), None).0.unwrap();
        let error = check(&image, &"0".repeat(64), None).0.unwrap_err().to_string();
        assert!(error.contains(ABC_256) && error.contains(&"0".repeat(64)), "{error}");
    }

    #[test]
    fn an_image_is_read_once_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (image, cache) = (dir.path().join("a.img"), dir.path().join("cache/digests"));
        fs::write(&image, "abc").unwrap();
        assert!(check(&image, ABC_256, Some(&cache)).1);
        let (result, was_read) = check(&image, ABC_256, Some(&cache));
        assert!(result.is_ok() && !was_read);
        // Of a wrong one too.
        assert!(!check(&image, &"0".repeat(64), Some(&cache)).1);
        assert!(check(&image, ABC_512, Some(&cache)).1, "the other digest is not known yet");
        let modified = fs::metadata(&image).unwrap().modified().unwrap();
        fs::write(&image, "abd").unwrap();
        File::options().write(true).open(&image).unwrap().set_modified(modified).unwrap();
        let (result, was_read) = check(&image, ABC_256, Some(&cache));
        assert!(result.is_err() && was_read, "a time that was set back does not help");
    }

    #[test]
    fn a_broken_cache_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("a.img");
        fs::write(&image, "abc").unwrap();
        check(&image, ABC_256, Some(dir.path())).0.unwrap();
        for entry in fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if entry != image {
                fs::write(entry, "{}").unwrap();
            }
        }
        let (result, was_read) = check(&image, ABC_256, Some(dir.path()));
        assert!(result.is_ok() && was_read);
        check(&image, ABC_256, Some(Path::new("/proc/no"))).0.unwrap();
    }
}
