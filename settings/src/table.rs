//! A table of a file, of which each value knows where it stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Advice, Fault, one_of};

/// A value that was read, and where it stands; none if its key is not there.
pub type Found<T> = Option<(T, Range<usize>)>;

/// A table, and what it is called in messages.
#[derive(Debug)]
pub struct Table<'t> {
    what: String,
    pub(crate) source: &'t str,
    table: &'t DeTable<'t>,
    span: Range<usize>,
}

impl<'t> Table<'t> {
    pub(crate) fn new(what: &str, source: &'t str, table: &'t DeTable<'t>, span: Range<usize>) -> Table<'t> {
        Table { what: what.to_owned(), source, table, span }
    }

    /// The same, called otherwise.
    pub fn called(&self, what: String) -> Table<'t> {
        Table { what, source: self.source, table: self.table, span: self.span.clone() }
    }

    /// Where it begins.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Refuses all keys but these: the first that stands in the text.
    ///
    /// # Errors
    /// It has another key.
    pub fn knows(&self, keys: &[&str]) -> Result<(), Fault> {
        let unknown = self.table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let name: &str = key.get_ref().as_ref();
        let suggestion = one_of(name, keys.iter().copied());
        Err(Fault::new(key.span(), format!("{} has no key `{name}`", self.what), suggestion))
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub fn required<T>(
        &self,
        key: &'static str,
        suggestion: &str,
        read: impl Fn(&Self, &'static str) -> Result<Found<T>, Fault>,
    ) -> Result<(T, Range<usize>), Fault> {
        let missing =
            || Fault::new(self.span.clone(), format!("{} needs the key `{key}`", self.what), suggestion);
        read(self, key)?.ok_or_else(missing)
    }

    /// A fault at a word of a value that was found there.
    pub fn fault_at(&self, span: &Range<usize>, advice: Advice) -> Fault {
        Fault::at_word(self.source, span, advice)
    }

    /// A table within it.
    ///
    /// # Errors
    /// It is no table.
    pub fn table(&self, key: &'static str, what: &str) -> Result<Option<Table<'t>>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(table) => Ok(Some(Table::new(what, self.source, table, value.span()))),
            DeValue::Array(_) => {
                Err(self.wrong(key, value, "a table", format!("there is one: begin it with a line [{key}]")))
            }
            _ => Err(self.wrong(key, value, "a table", format!("begin it with a line [{key}]"))),
        }
    }

    /// The tables of an array of tables.
    ///
    /// # Errors
    /// It is no such array.
    pub fn tables(&self, key: &'static str, what: &str) -> Result<Vec<Table<'t>>, Fault> {
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

    pub(crate) fn wrong(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        wanted: &str,
        suggestion: String,
    ) -> Fault {
        let message = format!("`{key}` must be {wanted}, not {}", kind_of(value.get_ref()));
        Fault::new(value.span(), message, suggestion)
    }
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
