//! What kind of thing a user-data is, and whether cloud-init would make sense of it. The beginning says the kind, as in
//! cloud-init's documentation, "User-data formats".

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::{MAX_DOCUMENT, cloud_config, mime, utf8};

/// A user-data as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserData {
    /// What it is.
    pub(crate) kind: Kind,
    /// Unpacked, if it was compressed.
    pub(crate) text: String,
}

/// The kinds that need a different treatment here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// YAML, which is checked.
    CloudConfig,
    /// A list of any kinds, as YAML.
    Archive,
    /// Several parts.
    Mime,
    /// Everything that cloud-init knows besides: scripts, includes, templates, …
    Other,
}

/// How cloud-init recognises what is neither a cloud-config nor a multi-part.
const OTHERS: [&str; 7] = [
    "#!",
    "#include",
    "#cloud-boothook",
    "#part-handler",
    "#cloud-config-jsonp",
    "#upstart-job",
    "## template: jinja",
];

impl UserData {
    /// Reads one; `None` if it is empty. The error is a sentence with the line.
    pub(crate) fn parse(contents: &[u8]) -> Result<Option<Self>, String> {
        let text = utf8(unpacked(contents)?)?;
        // A byte order mark in front of `#cloud-config` would hide it.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        if text.trim().is_empty() {
            return Ok(None);
        }
        let kind = kind_of(&text).ok_or_else(|| unknown(&text))?;
        // Headings alone, as manuals show them: cloud-init would take it for nothing too, and complain.
        if kind == Kind::CloudConfig
            && text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
        {
            return Ok(None);
        }
        check(kind, &text)?;
        Ok(Some(Self { kind, text }))
    }
}

/// Checks a user-data, or a part of one.
pub(super) fn check(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::CloudConfig => cloud_config::check(text),
        Kind::Archive => cloud_config::check_archive(text),
        Kind::Mime => mime::check(text),
        Kind::Other => Ok(()),
    }
}

/// The kind, by how the text begins.
pub(super) fn kind_of(text: &str) -> Option<Kind> {
    let head = &text.as_bytes()[..text.len().min(4096)];
    // cloud-init looks for this in the first 4096 bytes, whatever else is there.
    if head.to_ascii_lowercase().windows(13).any(|window| window == b"mime-version:") {
        return Some(Kind::Mime);
    }
    // The longer names first: they begin with the shorter one.
    let text = text.trim_start().to_ascii_lowercase();
    let first = text.lines().next().unwrap_or_default();
    if first.starts_with("#cloud-config-archive") {
        Some(Kind::Archive)
    } else if OTHERS.iter().any(|begin| first.starts_with(begin)) {
        Some(Kind::Other)
    } else if first.starts_with("#cloud-config") {
        Some(Kind::CloudConfig)
    } else {
        None
    }
}

fn unknown(text: &str) -> String {
    let (line, first) = text.lines().enumerate().find(|(_, line)| !line.trim().is_empty()).unwrap_or((0, ""));
    let line = line + 1;
    let shown: String = first.chars().take(40).collect();
    if text.lines().any(|line| line.trim_end() == "#cloud-config") {
        return format!(
            "line {line}: `#cloud-config` has to be the first line, cloud-init ignores the file otherwise"
        );
    }
    format!(
        "line {line}: it begins with `{shown}`, which tells cloud-init nothing, and it would ignore the file: a cloud-config \
         has `#cloud-config` as its first line, a script `#!/bin/sh`"
    )
}

/// What a gzip holds; anything else as it is.
fn unpacked(contents: &[u8]) -> Result<Vec<u8>, String> {
    if !contents.starts_with(&[0x1f, 0x8b]) {
        return Ok(contents.to_vec());
    }
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(contents)
        .take(MAX_DOCUMENT + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| format!("it begins like a gzip and cannot be unpacked: {error}"))?;
    if unpacked.len() as u64 > MAX_DOCUMENT {
        return Err(format!("unpacked it is more than {} MiB", MAX_DOCUMENT >> 20));
    }
    Ok(unpacked)
}
