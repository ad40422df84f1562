//! A text that is TOML.

use toml::Spanned;
use toml::de::DeTable;

use crate::{Fault, Table};

/// How errors speak of the lists of tables that a file has.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    /// What there may be several of.
    pub what: &'static str,
    /// The key of their tables, which stands between double brackets.
    pub key: &'static str,
}

/// A text that is TOML.
#[derive(Debug)]
pub struct Document<'s> {
    source: &'s str,
    root: Spanned<DeTable<'s>>,
}

impl<'s> Document<'s> {
    /// Reads a text.
    ///
    /// # Errors
    /// It is not TOML.
    pub fn parse(source: &'s str, lists: Lists) -> Result<Document<'s>, Fault> {
        let root = DeTable::parse(source).map_err(|error| syntax(&error, source, lists))?;
        Ok(Document { source, root })
    }

    /// All of it as a table, and what it is called in messages.
    pub fn table(&self, what: &str) -> Table<'_> {
        Table::new(what, self.source, self.root.get_ref(), 0..0)
    }
}

fn syntax(error: &toml::de::Error, source: &str, lists: Lists) -> Fault {
    let message = error.message();
    let span = error.span().unwrap_or(0..0);
    let Lists { what, key } = lists;
    let suggestion = if message.contains("duplicate key") {
        format!("write each key once; of {what} there may be more: each begins with [[{key}]]")
    } else if message.contains("must be quoted") {
        format!("write it in quotes: \"{}\"", source.get(span.clone()).unwrap_or("10s"))
    } else {
        format!(
            "this is not TOML: a line is `key = value` with text in quotes, or begins a table, as [[{key}]] does"
        )
    };
    let message = message.split([',', '\n']).next().unwrap_or(message).to_owned();
    Fault::new(span, message, suggestion)
}
