//! Multi-parts that the user has made: enough of MIME (RFC 2045, RFC 2046) to check the cloud-configs in them.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::user_data::{Kind, check as check_part, kind_of};

/// What cloud-init's mail parser lets through, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Multi-parts within multi-parts.
const MAX_DEPTH: usize = 8;

/// Checks what can be read of it. Lines are those of the file, as far as a part is written out in it.
pub(super) fn check(text: &str) -> Result<(), String> {
    entity(text, 0, 0)
}

fn entity(text: &str, before: usize, depth: usize) -> Result<(), String> {
    let (headers, body, head_lines) = split(text);
    let content_type = header(&headers, "content-type").unwrap_or("text/plain");
    let body_line = before + head_lines;
    if !content_type.to_ascii_lowercase().starts_with("multipart/") {
        return leaf(&headers, content_type, body, body_line);
    }
    if depth >= MAX_DEPTH {
        return Err(format!("line {}: more than {MAX_DEPTH} multi-parts in each other", before + 1));
    }
    let Some(boundary) = parameter(content_type, "boundary") else {
        return Err(format!("line {}: a multi-part without a boundary", before + 1));
    };
    let delimiter = format!("--{boundary}");
    let mut begin: Option<(usize, usize)> = None;
    let mut at = 0;
    let mut found = false;
    let part = |from: Option<(usize, usize)>, to: usize| match from {
        Some((start, line)) => entity(&body[start..to], line, depth + 1),
        None => Ok(()),
    };
    for (index, line) in body.split_inclusive('\n').enumerate() {
        let end = at + line.len();
        let word = line.trim_end();
        if word == delimiter || word.strip_suffix("--") == Some(&delimiter) {
            found = true;
            part(begin.take(), at)?;
            if word == delimiter {
                begin = Some((end, body_line + index + 1));
            } else {
                return Ok(());
            }
        }
        at = end;
    }
    if !found {
        return Err(format!("line {}: the boundary `{boundary}` is in none of the lines", before + 1));
    }
    part(begin, body.len())
}

fn leaf(headers: &[(String, String)], content_type: &str, body: &str, line: usize) -> Result<(), String> {
    let encoding = header(headers, "content-transfer-encoding").unwrap_or("7bit").trim().to_ascii_lowercase();
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let named = match media.as_str() {
        "text/cloud-config" => Some(Kind::CloudConfig),
        "text/cloud-config-archive" => Some(Kind::Archive),
        _ => None,
    };
    let decoded = if encoding == "base64" {
        let packed: String = body.split_ascii_whitespace().collect();
        let octets =
            BASE64.decode(packed).map_err(|error| format!("line {}: not base64: {error}", line + 1))?;
        match String::from_utf8(octets) {
            Ok(text) => text,
            // Something compressed, which is the guest's to unpack.
            Err(_) if named.is_none() => return Ok(()),
            Err(_) => return Err(format!("line {}: the part is not UTF-8", line + 1)),
        }
    } else if encoding == "quoted-printable" {
        return Ok(());
    } else {
        // Empty lines in front keep the numbers of the lines right.
        "\n".repeat(line) + body
    };
    let kind = match (named, media.as_str()) {
        (Some(kind), _) => Some(kind),
        (None, "text/plain" | "text/x-not-multipart") => kind_of(&decoded).filter(|kind| *kind != Kind::Mime),
        _ => None,
    };
    let Some(kind) = kind else { return Ok(()) };
    let within =
        if encoding == "base64" { format!("line {}, in the part: ", line + 1) } else { String::new() };
    check_part(kind, &decoded).map_err(|why| within + &why)
}

/// Headers, body and how many lines are in front of the body.
fn split(text: &str) -> (Vec<(String, String)>, &str, usize) {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let word = line.trim_end_matches(['\r', '\n']);
        if word.trim().is_empty() {
            return (headers, &text[at + line.len()..], index + 1);
        }
        if word.starts_with([' ', '\t']) {
            // A header goes on (RFC 5322 §2.2.3).
            if let Some((_, value)) = headers.last_mut() {
                value.push(' ');
                value.push_str(word.trim());
            }
        } else if let Some((name, value)) = word.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        } else if index > 0 {
            // No header: the body begins here without an empty line.
            return (headers, &text[at..], index);
        }
        at += line.len();
    }
    (headers, "", text.lines().count())
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A parameter of a header's value, with or without quotes (RFC 2045 §5.1).
fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then(|| value.to_owned())
    })
}
