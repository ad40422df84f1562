//! Whether a cloud-config is one: YAML, a mapping, and its best known keys of the kinds that cloud-init wants. The rest is
//! for `cloud-init schema` to say, which knows every version's keys.

use saphyr::{MarkedYaml, Scalar, YamlData};

use super::user_data::{check as check_part, kind_of};
use crate::yaml;

/// What the value of a key may be.
#[derive(Clone, Copy)]
enum Wanted {
    /// A list of anything.
    List,
    /// A list of texts or of lists of texts: commands.
    Commands,
    /// A list of texts.
    Texts,
    /// A list of names or mappings with a `name`.
    Users,
    /// A list of mappings with a `path`.
    Files,
    /// A mapping.
    Mapping,
    /// A text.
    Text,
    /// True or false.
    Flag,
    /// True, false or a text.
    FlagOrText,
}

/// Keys whose mistakes are common; all that ours and theirs have in common is among them, since what is of two kinds
/// cannot be merged.
const KEYS: [(&str, Wanted); 29] = [
    ("users", Wanted::Users),
    ("write_files", Wanted::Files),
    ("runcmd", Wanted::Commands),
    ("bootcmd", Wanted::Commands),
    ("packages", Wanted::List),
    ("ssh_authorized_keys", Wanted::Texts),
    ("ssh_import_id", Wanted::Texts),
    ("ssh_genkeytypes", Wanted::Texts),
    ("mounts", Wanted::List),
    ("ssh_keys", Wanted::Mapping),
    ("apt", Wanted::Mapping),
    ("chpasswd", Wanted::Mapping),
    ("power_state", Wanted::Mapping),
    ("growpart", Wanted::Mapping),
    ("ntp", Wanted::Mapping),
    ("disk_setup", Wanted::Mapping),
    ("swap", Wanted::Mapping),
    ("final_message", Wanted::Text),
    ("hostname", Wanted::Text),
    ("fqdn", Wanted::Text),
    ("timezone", Wanted::Text),
    ("locale", Wanted::FlagOrText),
    ("manage_etc_hosts", Wanted::FlagOrText),
    ("ssh_pwauth", Wanted::FlagOrText),
    ("package_update", Wanted::Flag),
    ("package_upgrade", Wanted::Flag),
    ("disable_root", Wanted::Flag),
    ("preserve_hostname", Wanted::Flag),
    ("ssh_deletekeys", Wanted::Flag),
];

/// Reads YAML; the error is a sentence with the line.
pub(super) fn parse(text: &str) -> Result<Option<MarkedYaml<'_>>, String> {
    yaml::parse(text).map_err(|(line, what)| format!("line {line}: {what}"))
}

/// Checks a cloud-config.
pub(super) fn check(text: &str) -> Result<(), String> {
    let Some(document) = parse(text)? else {
        return Err("line 1: there is nothing behind `#cloud-config`".to_owned());
    };
    let YamlData::Mapping(entries) = &document.data else {
        if matches!(document.data, YamlData::Value(Scalar::Null)) {
            return Err("line 1: there is nothing behind `#cloud-config`".to_owned());
        }
        return Err(wrong(&document, "a cloud-config", "a mapping (`key: value`)"));
    };
    for (key, value) in entries {
        let Some(name) = key.data.as_str() else {
            return Err(wrong(key, "the name of a key", "a text"));
        };
        // cloud-init takes some keys with `-` too, and means the same.
        let name = name.replace('-', "_");
        if let Some((name, wanted)) = KEYS.iter().find(|(known, _)| *known == name) {
            check_value(name, value, *wanted)?;
        }
    }
    Ok(())
}

/// Checks an archive: a list of texts, or of mappings with a `content`.
pub(super) fn check_archive(text: &str) -> Result<(), String> {
    let items = match parse(text)? {
        Some(MarkedYaml { data: YamlData::Sequence(items), .. }) => items,
        Some(other) => return Err(wrong(&other, "a cloud-config-archive", "a list")),
        None => return Err("line 1: there is nothing in the archive".to_owned()),
    };
    for item in &items {
        let content = match &item.data {
            YamlData::Value(Scalar::String(text)) => Some(text.as_ref()),
            YamlData::Mapping(_) => entry(item, "content").and_then(|content| content.data.as_str()),
            _ => return Err(wrong(item, "an entry of the archive", "a text or a mapping")),
        };
        if let Some((text, kind)) = content.and_then(|text| Some((text, kind_of(text)?))) {
            check_part(kind, text)
                .map_err(|why| format!("line {}, in the entry: {why}", yaml::line_of(item)))?;
        }
    }
    Ok(())
}

fn check_value(name: &str, value: &MarkedYaml<'_>, wanted: Wanted) -> Result<(), String> {
    // `key:` with nothing behind it is let through: it sets nothing.
    if is_nothing(value) {
        return match wanted {
            Wanted::List | Wanted::Commands | Wanted::Texts | Wanted::Users | Wanted::Files => {
                Err(wrong(value, name, "a list"))
            }
            _ => Ok(()),
        };
    }
    match wanted {
        Wanted::Mapping if value.data.as_mapping().is_none() => Err(wrong(value, name, "a mapping")),
        Wanted::Text if !is_text(value) => Err(wrong(value, name, "a text")),
        Wanted::Flag if !is_flag(value) => Err(wrong(value, name, "true or false")),
        Wanted::FlagOrText if !is_flag(value) && !is_text(value) => {
            Err(wrong(value, name, "true, false or a text"))
        }
        Wanted::List | Wanted::Commands | Wanted::Texts | Wanted::Users | Wanted::Files => {
            let YamlData::Sequence(items) = &value.data else {
                return Err(wrong(value, name, "a list (`- …`)"));
            };
            items.iter().try_for_each(|item| check_item(name, item, wanted))
        }
        _ => Ok(()),
    }
}

fn check_item(list: &str, item: &MarkedYaml<'_>, wanted: Wanted) -> Result<(), String> {
    let what = format!("an entry of `{list}`");
    match wanted {
        Wanted::Texts if !is_text(item) => Err(wrong(item, &what, "a text")),
        Wanted::Commands => match &item.data {
            YamlData::Sequence(words) => match words.iter().find(|word| !is_scalar(word)) {
                Some(word) => Err(wrong(word, &format!("a word of a command in `{list}`"), "a text")),
                None => Ok(()),
            },
            _ if is_text(item) || is_nothing(item) => Ok(()),
            // Usually a colon that made a mapping of a command.
            _ => {
                Err(wrong(item, &what, "a text or a list of words (a command with `: ` in it needs quotes)"))
            }
        },
        Wanted::Users => match &item.data {
            YamlData::Mapping(_) if entry(item, "name").is_some_and(is_scalar) => Ok(()),
            YamlData::Mapping(_) if entry(item, "snapuser").is_some() => Ok(()),
            YamlData::Mapping(_) => Err(format!("line {}: {what} has no `name`", yaml::line_of(item))),
            _ if is_text(item) => Ok(()),
            YamlData::Sequence(names) if names.iter().all(is_text) => Ok(()),
            _ => Err(wrong(item, &what, "a name or a mapping with a `name`")),
        },
        Wanted::Files => match &item.data {
            YamlData::Mapping(_) if entry(item, "path").is_some_and(is_text) => Ok(()),
            YamlData::Mapping(_) => Err(format!("line {}: {what} has no `path`", yaml::line_of(item))),
            _ => Err(wrong(item, &what, "a mapping with a `path`")),
        },
        _ => Ok(()),
    }
}

fn wrong(node: &MarkedYaml<'_>, what: &str, wanted: &str) -> String {
    format!("line {}: {what} has to be {wanted}, this is {}", yaml::line_of(node), yaml::kind_of(node))
}

fn entry<'a, 'input>(node: &'a MarkedYaml<'input>, name: &str) -> Option<&'a MarkedYaml<'input>> {
    let entries = node.data.as_mapping()?;
    entries.iter().find(|(key, _)| key.data.as_str() == Some(name)).map(|(_, value)| value)
}

fn is_text(node: &MarkedYaml<'_>) -> bool {
    node.data.as_str().is_some()
}

/// YAML 1.1, which cloud-init reads, has more words for them than YAML 1.2.
fn is_flag(node: &MarkedYaml<'_>) -> bool {
    const WORDS: [&str; 8] = ["yes", "no", "on", "off", "true", "false", "y", "n"];
    match &node.data {
        YamlData::Value(Scalar::Boolean(_)) => true,
        YamlData::Value(Scalar::String(text)) => WORDS.contains(&text.to_ascii_lowercase().as_str()),
        _ => false,
    }
}

fn is_scalar(node: &MarkedYaml<'_>) -> bool {
    matches!(node.data, YamlData::Value(_)) && !is_nothing(node)
}

fn is_nothing(node: &MarkedYaml<'_>) -> bool {
    matches!(node.data, YamlData::Value(Scalar::Null))
}
