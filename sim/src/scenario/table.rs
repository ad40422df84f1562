//! A table of a scenario file, of which each value knows where it stands.

use std::ops::Range;
use std::time::Duration;

use mvpnet_transports::link::{ByteSize, parse_duration};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Fault;
use super::suggest;

/// A value that was read, and where it stands.
type Found<T> = Option<(T, Range<usize>)>;

/// A table, and what it is called in messages.
pub(super) struct Table<'t> {
    what: String,
    pub(super) source: &'t str,
    table: &'t DeTable<'t>,
    span: Range<usize>,
}

impl<'t> Table<'t> {
    pub(super) fn new(what: &str, source: &'t str, table: &'t DeTable<'t>, span: Range<usize>) -> Table<'t> {
        Table { what: what.to_owned(), source, table, span }
    }

    /// The same, called otherwise.
    pub(super) fn called(&self, what: String) -> Table<'t> {
        Table { what, source: self.source, table: self.table, span: self.span.clone() }
    }

    /// Refuses all keys but these: the first that stands in the text.
    pub(super) fn knows(&self, keys: &[&str]) -> Result<(), Fault> {
        let unknown = self.table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let name: &str = key.get_ref().as_ref();
        let suggestion = suggest::one_of(name, keys.iter().copied());
        Err(Fault::new(key.span(), format!("{} has no key `{name}`", self.what), suggestion))
    }

    fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// A value that must be there.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        suggestion: &str,
        read: impl Fn(&Self, &'static str) -> Result<Found<T>, Fault>,
    ) -> Result<(T, Range<usize>), Fault> {
        let missing =
            || Fault::new(self.span.clone(), format!("{} needs the key `{key}`", self.what), suggestion);
        read(self, key)?.ok_or_else(missing)
    }

    pub(super) fn text(&self, key: &'static str) -> Result<Found<String>, Fault> {
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
    pub(super) fn text_or_number(&self, key: &'static str) -> Result<Found<String>, Fault> {
        match self.value(key).map(|value| (value, value.get_ref())) {
            Some((value, DeValue::Integer(number))) => Ok(Some((number.to_string(), value.span()))),
            _ => self.text(key),
        }
    }

    /// A whole number that is not negative, and not too large.
    pub(super) fn number<N: TryFrom<u64>>(&self, key: &'static str) -> Result<Found<N>, Fault> {
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
                let most = if size_of::<N>() == 4 { u64::from(u32::MAX) } else { u64::MAX };
                let message = format!("`{key}` cannot be {digits}");
                Err(Fault::new(value.span(), message, format!("write a whole number from 0 to {most}")))
            }
        }
    }

    pub(super) fn duration(&self, key: &'static str) -> Result<Found<Duration>, Fault> {
        self.quantity(key, "10s", parse_duration)
    }

    pub(super) fn size(&self, key: &'static str) -> Result<Found<ByteSize>, Fault> {
        self.quantity(key, "1MiB", str::parse)
    }

    fn quantity<T>(
        &self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, mvpnet_transports::link::UnitError>,
    ) -> Result<Found<T>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let DeValue::String(text) = value.get_ref() else {
            let suggestion = format!("write it with its unit, in quotes: `{key} = \"{example}\"`");
            return Err(self.wrong(key, value, "text", suggestion));
        };
        let quantity = parse(text).map_err(|error| {
            let advice = suggest::for_unit(&error);
            Fault::new(value.span(), format!("{key}: {}", advice.message), advice.suggestion)
        })?;
        Ok(Some((quantity, value.span())))
    }

    /// The tables of an array of tables.
    pub(super) fn tables(&self, key: &'static str, what: &str) -> Result<Vec<Table<'t>>, Fault> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let suggestion = || format!("begin each with a line [[{key}]], in double brackets");
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong(key, value, "a list of tables", suggestion()));
        };
        let table = |element: &'t Spanned<DeValue<'t>>| match element.get_ref() {
            DeValue::Table(table) => Ok(Table::new(what, self.source, table, element.span())),
            _ => Err(self.wrong(key, element, "a list of tables", suggestion())),
        };
        array.iter().map(table).collect()
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str, suggestion: String) -> Fault {
        let message = format!("`{key}` must be {wanted}, not {}", kind_of(value.get_ref()));
        Fault::new(value.span(), message, suggestion)
    }
}

/// A list without brackets, quotes and blanks.
fn plain(list: &str) -> String {
    list.chars().filter(|c| !matches!(c, '[' | ']' | '"' | '\'') && !c.is_whitespace()).collect()
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
