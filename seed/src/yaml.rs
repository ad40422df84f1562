//! YAML, written by serde-saphyr and read by saphyr, which knows the line of everything.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::SeedError;

/// A document as text.
pub(crate) fn text_of(document: &impl Serialize) -> Result<String, SeedError> {
    // A folded key would still be right, but nobody could search for it.
    let mut options = serde_saphyr::SerializerOptions::default();
    options.min_fold_chars = usize::MAX;
    options.folded_wrap_chars = usize::MAX;
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, document, options)
        .map_err(|error| SeedError(format!("this cannot be said in YAML: {error}")))?;
    Ok(text)
}

/// The document in a text, or what is wrong and in which line (from 1).
pub(crate) fn parse(text: &str) -> Result<Option<MarkedYaml<'_>>, (usize, String)> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| {
        let marker = error.marker();
        // The parser's own words for it are hard to understand, and it notices one line later at times.
        let is_tab = |(line, col): &(usize, usize)| {
            let text = text.lines().nth(line.wrapping_sub(1)).unwrap_or_default();
            let begins = text.trim_start_matches(' ').starts_with('\t');
            begins || text.chars().skip(col.saturating_sub(1)).take(2).any(|c| c == '\t')
        };
        let near = [(marker.line(), marker.col()), (marker.line().saturating_sub(1), usize::MAX)];
        if let Some((line, _)) = near.iter().find(|place| is_tab(place)) {
            return (*line, TAB.to_owned());
        }
        (marker.line(), format!("{} (column {})", error.info(), marker.col() + 1))
    })?;
    if let Some(line) = stray_tab(text) {
        return Err((line, TAB.to_owned()));
    }
    if let Some(problem) = strange_character(text).or_else(|| unknown_tag(text)) {
        return Err(problem);
    }
    let mut documents = documents.into_iter();
    let first = documents.next();
    match documents.next() {
        None => Ok(first),
        Some(second) => Err((line_of(&second), "a second document begins here, only one is read".to_owned())),
    }
}

/// What is said of a tab.
const TAB: &str = "a tab where YAML wants blanks";

/// The line of the first tab that is in no text of its own. YAML 1.2 lets some of them through; cloud-init's reader, of
/// YAML 1.1, stops there.
fn stray_tab(text: &str) -> Option<usize> {
    if !text.contains('\t') {
        return None;
    }
    let scalars = Parser::new_from_str(text).map_while(Result::ok).filter_map(|(event, span)| match event {
        Event::Scalar(_, ScalarStyle::Plain, ..) => None,
        // A block without text is its indicator alone.
        Event::Scalar(text, ScalarStyle::Literal | ScalarStyle::Folded, ..) if text.trim().is_empty() => None,
        Event::Scalar(..) => Some((span.start.index(), span.end.index())),
        _ => None,
    });
    let mut scalars = scalars.peekable();
    let (mut line, mut comment, mut before) = (1, false, ' ');
    for (index, c) in text.chars().enumerate() {
        while scalars.next_if(|(_, end)| *end <= index).is_some() {}
        let inside = scalars.peek().is_some_and(|(start, _)| *start <= index);
        match c {
            '\n' => (line, comment) = (line + 1, false),
            _ if inside || comment => {}
            '#' if before.is_whitespace() => comment = true,
            '\t' => return Some(line),
            _ => {}
        }
        before = c;
    }
    None
}

/// The first character that YAML 1.1 takes for a line break or for none at all (§4.1.1, §4.2), and YAML 1.2 for any other.
fn strange_character(text: &str) -> Option<(usize, String)> {
    let strange = |c: char| {
        c.is_control() && !"\t\n\r".contains(c)
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let (line, found) = text
        .lines()
        .enumerate()
        .find_map(|(index, line)| Some((index + 1, line.chars().find(|c| strange(*c))?)))?;
    Some((line, format!("the character {} is not for YAML", found.escape_unicode())))
}

/// The first tag that is not YAML's own: cloud-init's reader makes no objects of them, it stops.
fn unknown_tag(text: &str) -> Option<(usize, String)> {
    let events = Parser::new_from_str(text).map_while(Result::ok);
    events.into_iter().find_map(|(event, span)| {
        let (Event::Scalar(.., tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag)) = event
        else {
            return None;
        };
        let tag = tag.filter(|tag| tag.handle != "tag:yaml.org,2002:")?;
        Some((span.start.line(), format!("cloud-init knows no tag `{}{}`", tag.handle, tag.suffix)))
    })
}

/// The line (from 1) where something stands.
pub(crate) fn line_of(node: &MarkedYaml<'_>) -> usize {
    node.span.start.line()
}

/// What something is, in the words of people who write YAML.
pub(crate) fn kind_of(node: &MarkedYaml<'_>) -> &'static str {
    match &node.data {
        YamlData::Sequence(_) => "a list",
        YamlData::Mapping(_) => "a mapping",
        YamlData::Value(Scalar::Null) => "nothing",
        YamlData::Value(Scalar::Boolean(_)) => "true or false",
        YamlData::Value(Scalar::Integer(_) | Scalar::FloatingPoint(_)) => "a number",
        YamlData::Value(Scalar::String(_)) => "a text",
        YamlData::Tagged(_, inner) => kind_of(inner),
        YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => "something else",
    }
}

/// A node that was read, to be written.
pub(crate) struct Written<'a>(pub(crate) &'a MarkedYaml<'a>);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.data {
            YamlData::Sequence(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    sequence.serialize_element(&Written(item))?;
                }
                sequence.end()
            }
            YamlData::Mapping(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(&Written(key), &Written(value))?;
                }
                map.end()
            }
            YamlData::Value(Scalar::Null) => serializer.serialize_unit(),
            YamlData::Value(Scalar::Boolean(value)) => serializer.serialize_bool(*value),
            YamlData::Value(Scalar::Integer(value)) => serializer.serialize_i64(*value),
            YamlData::Value(Scalar::FloatingPoint(value)) => serializer.serialize_f64(value.into_inner()),
            YamlData::Value(Scalar::String(value)) => serializer.serialize_str(value),
            YamlData::Tagged(_, inner) => Written(inner).serialize(serializer),
            YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
                Err(S::Error::custom("a value that cannot be read"))
            }
        }
    }
}
