//! The user's own user-data and ours as one: a MIME multi-part (RFC 2046 §5.1) of theirs, then ours.
//!
//! cloud-init merges its cloud-configs in order, each as its own header says. Theirs comes first, so that it means what
//! it meant alone; ours keep what is there (`no_replace`), put lists together, and go into mappings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::user_files::{Kind, UserData};

/// Our accounts, keys and commands come after theirs: of two accounts with one name the first counts.
const LISTS_AFTER: &str = "list(append)+dict(no_replace,recurse_list)+str()";
/// What has to run before theirs; and the last message says theirs and then ours.
const LISTS_BEFORE: &str = "list(prepend)+dict(no_replace,recurse_list,recurse_str)+str(append)";

/// The user-data of a volume.
pub(crate) fn user_data(own: Option<&UserData>, ours: &str, early: &str, boundary: &str) -> Vec<u8> {
    let mut text = format!(
        "Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\nNumber-Attachments: {}\n\n",
        2 + usize::from(own.is_some())
    )
    .into_bytes();
    let mut part = |headers: &str, body: &[u8]| {
        text.extend_from_slice(format!("--{boundary}\n{headers}").as_bytes());
        text.extend_from_slice(body);
        if !body.ends_with(b"\n") {
            text.push(b'\n');
        }
    };
    match own {
        // A multi-part is a part as it is: its own headers say what it is.
        Some(own) if own.kind == Kind::Mime => part("", without_envelope(&own.text)),
        Some(own) => part(&encoded_headers("text/plain", "user-data", None), &encoded(own.text.as_bytes())),
        None => {}
    }
    let ours_headers = |name: &str, merge: &str| encoded_headers("text/cloud-config", name, Some(merge));
    part(&ours_headers("mvpnet", LISTS_AFTER), &encoded(ours.as_bytes()));
    part(&ours_headers("mvpnet-early", LISTS_BEFORE), &encoded(early.as_bytes()));
    text.extend_from_slice(format!("--{boundary}--\n").as_bytes());
    text
}

fn encoded_headers(kind: &str, name: &str, merge: Option<&str>) -> String {
    let merge = merge.map(|merge| format!("X-Merge-Type: {merge}\n")).unwrap_or_default();
    format!(
        "Content-Type: {kind}; charset=\"utf-8\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\
         Content-Disposition: attachment; filename=\"{name}\"\n{merge}\n"
    )
}

/// Base64 in lines of 76 (RFC 2045 §6.8).
fn encoded(body: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(body);
    text.as_bytes().chunks(76).flat_map(|line| line.iter().chain(b"\n")).copied().collect()
}

/// Some programs write a `From ` line in front, which only the head of a mailbox may have.
fn without_envelope(text: &str) -> &[u8] {
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("From ") => rest.as_bytes(),
        _ => text.as_bytes(),
    }
}
