//! What to write instead of a word that is not understood.

use mvpnet_transports::link::UnitError;

/// A word that is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The word, to be marked where it stands.
    pub word: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: String,
}

impl Advice {
    /// About a word, or about all of a value.
    pub fn new(word: Option<&str>, message: impl Into<String>, suggestion: impl Into<String>) -> Advice {
        Advice { word: word.map(str::to_owned), message: message.into(), suggestion: suggestion.into() }
    }
}

/// `did you mean …?`, or all there are if nothing is near.
pub fn one_of<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let distance = |name: &str| strsim::damerau_levenshtein(&word.to_lowercase(), name);
    let near = |name: &&str| distance(name) <= 1 + word.chars().count() / 3;
    match known.clone().filter(near).min_by_key(|name| distance(name)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("write one of {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// About a rate, a size or a duration.
pub fn for_unit(error: &UnitError) -> Advice {
    match error {
        UnitError::Text { text, kind, example } => {
            Advice::new(Some(text), format!("`{text}` is not a {kind}"), format!("write it like {example}"))
        }
        other => Advice::new(None, other.to_string(), "write it like 10Mbit/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_all_if_none_is_near() {
        let known = ["guests", "host", "vni"];
        assert_eq!(one_of("guest", known.into_iter()), "did you mean `guests`?");
        assert_eq!(one_of("VIN", known.into_iter()), "did you mean `vni`?");
        assert_eq!(one_of("blorp", known.into_iter()), "write one of guests, host, vni");
    }
}
