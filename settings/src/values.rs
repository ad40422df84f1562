//! The values of a table: text, numbers, sizes and times, true and false, lists of text.

use std::time::Duration;

use mvpnet_transports::link::{ByteSize, UnitError, parse_duration};
use toml::Spanned;
use toml::de::DeValue;

use crate::{Advice, Fault, Found, Table, for_unit};

impl Table<'_> {
    /// Text.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&self, key: &'static str) -> Result<Found<String>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => Ok(Some((text.to_string(), value.span()))),
            other => {
                let literal = self.source.get(value.span()).unwrap_or_default();
                let suggestion = match other {
                    DeValue::Array(_) => format!("write it in quotes: `{key} = \"{}\"`", plain(literal)),
                    DeValue::Table(_) => format!("write `{key} = \"…\"`"),
                    _ => format!("write it in quotes: `{key} = \"{literal}\"`"),
                };
                Err(self.wrong(key, value, "text", suggestion))
            }
        }
    }

    /// Text, or a number as text.
    ///
    /// # Errors
    /// It is something else.
    pub fn text_or_number(&self, key: &'static str) -> Result<Found<String>, Fault> {
        match self.value(key).map(|value| (value, value.get_ref())) {
            Some((value, DeValue::Integer(number))) => Ok(Some((number.to_string(), value.span()))),
            _ => self.text(key),
        }
    }

    /// Text in a list, each with its place.
    ///
    /// # Errors
    /// It is no list, or something in it is no text.
    pub fn texts(&self, key: &'static str) -> Result<Vec<(String, std::ops::Range<usize>)>, Fault> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let suggestion = || format!("write a list of text in quotes: `{key} = [\"…\", \"…\"]`");
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong(key, value, "a list of text", suggestion()));
        };
        let text = |element: &Spanned<DeValue<'_>>| match element.get_ref() {
            DeValue::String(text) => Ok((text.to_string(), element.span())),
            _ => Err(self.wrong(key, element, "a list of text", suggestion())),
        };
        array.iter().map(text).collect()
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// It is something else.
    pub fn truth(&self, key: &'static str) -> Result<Found<bool>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(truth) => Ok(Some((*truth, value.span()))),
            _ => {
                let suggestion = format!("write `{key} = true` or `{key} = false`, without quotes");
                Err(self.wrong(key, value, "true or false", suggestion))
            }
        }
    }

    /// A whole number that is not negative, and not too large.
    ///
    /// # Errors
    /// It is something else.
    pub fn number<N: TryFrom<u64>>(&self, key: &'static str) -> Result<Found<N>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let suggestion = format!("write a whole number without quotes: `{key} = 4`");
        let DeValue::Integer(digits) = value.get_ref() else {
            return Err(self.wrong(key, value, "a whole number", suggestion));
        };
        let number =
            u64::from_str_radix(digits.as_str(), digits.radix()).ok().and_then(|n| N::try_from(n).ok());
        match number {
            Some(number) => Ok(Some((number, value.span()))),
            None => {
                let most = u64::MAX >> (64 - 8 * size_of::<N>().clamp(1, 8));
                let message = format!("`{key}` cannot be {digits}");
                Err(Fault::new(value.span(), message, format!("write a whole number from 0 to {most}")))
            }
        }
    }

    /// A time with its unit, as `"10s"`.
    ///
    /// # Errors
    /// It is something else.
    pub fn duration(&self, key: &'static str) -> Result<Found<Duration>, Fault> {
        self.quantity(key, "10s", parse_duration)
    }

    /// A number of bytes with its unit, as `"1MiB"`.
    ///
    /// # Errors
    /// It is something else.
    pub fn size(&self, key: &'static str) -> Result<Found<ByteSize>, Fault> {
        self.quantity(key, "1MiB", str::parse)
    }

    fn quantity<T>(
        &self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, UnitError>,
    ) -> Result<Found<T>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let DeValue::String(text) = value.get_ref() else {
            let suggestion = format!("write it with its unit, in quotes: `{key} = \"{example}\"`");
            return Err(self.wrong(key, value, "text", suggestion));
        };
        let quantity = parse(text).map_err(|error| {
            let Advice { message, suggestion, .. } = for_unit(&error);
            Fault::new(value.span(), format!("{key}: {message}"), suggestion)
        })?;
        Ok(Some((quantity, value.span())))
    }
}

/// A list without brackets, quotes and blanks.
fn plain(list: &str) -> String {
    list.chars().filter(|c| !matches!(c, '[' | ']' | '"' | '\'') && !c.is_whitespace()).collect()
}
