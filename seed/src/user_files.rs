//! The user's own NoCloud directory (`-c DIR`), checked before anything boots.

mod cloud_config;
mod mime;
mod user_data;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use user_data::{Kind, UserData};

use crate::{guest, yaml};

/// What is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFiles {
    /// Its `user-data`, whatever kind that is.
    pub user_data: Option<Vec<u8>>,
    /// Its `meta-data`.
    pub meta_data: Option<String>,
    /// Its `network-config`, which takes the place of ours.
    pub network_config: Option<String>,
    /// Its `vendor-data`.
    pub vendor_data: Option<Vec<u8>>,
    /// All other files, by their path below the directory.
    pub others: Vec<(PathBuf, Vec<u8>)>,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct UserFilesError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, with the line where there is one.
    pub what: String,
}

/// What a document that cloud-init reads may have.
const MAX_DOCUMENT: u64 = 16 << 20;
/// What all files may have.
const MAX_TOTAL: u64 = 128 << 20;
/// A directory of more files is another directory than was meant.
const MAX_FILES: usize = 4096;
/// The same of one that is deeper, or a circle of links.
const MAX_DEPTH: usize = 16;

impl UserFiles {
    /// Reads and checks a directory.
    pub fn read(directory: &Path) -> Result<Self, UserFilesError> {
        let mut reader = Reader { directory, files: Vec::new(), total: 0 };
        reader.read(Path::new(""), 0)?;
        let mut own = Self::default();
        for (path, contents) in reader.files {
            let error = |what: String| UserFilesError { path: directory.join(&path), what };
            match path.to_str() {
                Some("user-data" | "vendor-data" | "meta-data" | "network-config")
                    if contents.len() as u64 > MAX_DOCUMENT =>
                {
                    let limit = MAX_DOCUMENT >> 20;
                    return Err(error(format!(
                        "{} bytes, cloud-init is given at most {limit} MiB",
                        contents.len()
                    )));
                }
                Some("user-data") => {
                    UserData::parse(&contents).map_err(error)?;
                    own.user_data = Some(contents);
                }
                Some("vendor-data") => own.vendor_data = Some(contents),
                Some("meta-data") => own.meta_data = mapping(contents).map_err(error)?,
                Some("network-config") => own.network_config = mapping(contents).map_err(error)?,
                _ => own.others.push((path, contents)),
            }
        }
        Ok(own)
    }

    /// Its user-data as text; none if there is nothing in it.
    pub(crate) fn parsed_user_data(&self) -> Result<Option<UserData>, UserFilesError> {
        let Some(contents) = &self.user_data else { return Ok(None) };
        UserData::parse(contents).map_err(|what| UserFilesError { path: "user-data".into(), what })
    }
}

/// A document that has to be a mapping in YAML; none if there is nothing in it.
fn mapping(contents: Vec<u8>) -> Result<Option<String>, String> {
    let text = utf8(contents)?;
    let empty = match cloud_config::parse(&text)? {
        None => true,
        Some(document) if document.data.as_mapping().is_none() => {
            let (line, kind) = (yaml::line_of(&document), yaml::kind_of(&document));
            return Err(format!("line {line}: {kind} where a mapping (`key: value`) has to be"));
        }
        Some(_) => false,
    };
    Ok((!empty).then_some(text))
}

/// The text of a file, or where it is none.
fn utf8(contents: Vec<u8>) -> Result<String, String> {
    String::from_utf8(contents).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line}: not UTF-8")
    })
}

struct Reader<'a> {
    directory: &'a Path,
    files: Vec<(PathBuf, Vec<u8>)>,
    total: u64,
}

impl Reader<'_> {
    /// Everything below a folder, in the order of the names.
    fn read(&mut self, below: &Path, depth: usize) -> Result<(), UserFilesError> {
        let folder = self.directory.join(below);
        let error = |path: &Path, what: String| UserFilesError { path: path.to_owned(), what };
        if depth > MAX_DEPTH {
            return Err(error(&folder, format!("more than {MAX_DEPTH} folders deep")));
        }
        let entries =
            fs::read_dir(&folder).map_err(|why| error(&folder, format!("cannot be read: {why}")))?;
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(|why| error(&folder, format!("cannot be read: {why}")))?.file_name());
        }
        names.sort();
        for name in names {
            let path = below.join(&name);
            let place = self.directory.join(&path);
            if name.to_str().is_none() {
                return Err(error(&place, "its name is not UTF-8".to_owned()));
            }
            if path == Path::new(guest::FOLDER) {
                return Err(error(
                    &place,
                    "mvpnet puts a folder of this name on the volume: choose another".to_owned(),
                ));
            }
            let found =
                fs::metadata(&place).map_err(|why| error(&place, format!("cannot be read: {why}")))?;
            if found.is_dir() {
                self.read(&path, depth + 1)?;
                continue;
            }
            // A pipe or a device would never end.
            if !found.is_file() {
                return Err(error(&place, "neither a file nor a folder".to_owned()));
            }
            self.total += found.len();
            if self.total > MAX_TOTAL || self.files.len() >= MAX_FILES {
                let limit = format!("at most {} MiB in {MAX_FILES} files fit on a seed", MAX_TOTAL >> 20);
                return Err(error(self.directory, limit));
            }
            let contents = fs::read(&place).map_err(|why| error(&place, format!("cannot be read: {why}")))?;
            self.files.push((path, contents));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
