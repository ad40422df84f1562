//! YAML, written by serde-saphyr and read by saphyr, which knows the line of everything.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::SeedError;

/// A document as text.
pub(crate) fn text_of(document: &impl Serialize) -> Result<String, SeedError> {
    // A folded key would still be right, but nobody could search for it.
    let mut options = serde_saphyr::SerializerOptions::default();
    options.min_fold_chars = usize::MAX;
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, document, options)
        .map_err(|error| SeedError(format!("this cannot be said in YAML: {error}")))?;
    Ok(text)
}

/// The document in a text, or what is wrong and in which line (from 1).
pub(crate) fn parse(text: &str) -> Result<Option<MarkedYaml<'_>>, (usize, String)> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| {
        let marker = error.marker();
        (marker.line(), format!("{} (column {})", error.info(), marker.col() + 1))
    })?;
    let mut documents = documents.into_iter();
    let first = documents.next();
    match documents.next() {
        None => Ok(first),
        Some(second) => Err((line_of(&second), "a second document begins here, only one is read".to_owned())),
    }
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
