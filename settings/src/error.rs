//! What is wrong with a file, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use crate::Advice;

/// Why a file is refused. It shows the line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The character of the line, counted from 1.
    pub column: usize,
    /// The line's text.
    pub text: String,
    /// How many characters of it are concerned.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: String,
}

/// The same, before it is known in which line that is.
#[derive(Debug)]
pub struct Fault {
    span: Range<usize>,
    message: String,
    suggestion: String,
}

impl Fault {
    /// At these bytes of the text.
    pub fn new(span: Range<usize>, message: impl Into<String>, suggestion: impl Into<String>) -> Fault {
        Fault { span, message: message.into(), suggestion: suggestion.into() }
    }

    /// At a word within these bytes of the text, or at all of them if the word does not stand there.
    pub fn at_word(source: &str, span: &Range<usize>, advice: Advice) -> Fault {
        let Advice { word, message, suggestion } = advice;
        let found = word.filter(|word| !word.is_empty()).and_then(|word| {
            let start = span.start + source.get(span.clone())?.find(&word)?;
            Some(start..start + word.len())
        });
        Fault::new(found.unwrap_or_else(|| span.clone()), message, suggestion)
    }

    /// Finds the line. `file` is what the error calls the text.
    pub fn locate(self, file: &str, source: &str) -> SettingsError {
        let start = floor(source, self.span.start);
        let begin = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = source[start..].find('\n').map_or(source.len(), |newline| start + newline);
        let stop = floor(source, self.span.end).clamp(start, end);
        SettingsError {
            file: file.to_owned(),
            line: source[..begin].matches('\n').count() + 1,
            column: source[begin..start].chars().count() + 1,
            text: source[begin..end].trim_end().to_owned(),
            width: source[start..stop].chars().count().max(1),
            message: self.message,
            suggestion: self.suggestion,
        }
    }
}

/// The beginning of the character at this place, or the end.
fn floor(source: &str, place: usize) -> usize {
    (0..=place.min(source.len())).rev().find(|place| source.is_char_boundary(*place)).unwrap_or(0)
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SettingsError { file, line, column, text, width, message, suggestion } = self;
        writeln!(f, "{file}:{line}:{column}: {message}")?;
        writeln!(f, "{line:>5} | {text}")?;
        // Tabs stay tabs, so that the marks stand below what they mark.
        let blank: String =
            text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "      | {blank}{}", "^".repeat(*width))?;
        write!(f, "  {suggestion}")
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_whatever_surrounds_it() {
        let source = "é = 1\n\tkey = 2\n";
        let at = source.find("key").unwrap();
        let error = Fault::new(at..at + 3, "no", "yes").locate("f", source);
        assert_eq!((error.line, error.column, error.width), (2, 2, 3));
        assert_eq!(error.to_string(), "f:2:2: no\n    2 | \tkey = 2\n      | \t^^^\n  yes");
        let error = Fault::new(1..99, "no", "yes").locate("f", source);
        assert_eq!((error.line, error.column), (1, 1));
        let error = Fault::new(500..501, "no", "yes").locate("f", "");
        assert_eq!((error.line, error.column), (1, 1));
    }
}
