//! Strict reading of TOML files that people write: what is not understood is an error that shows the line, says what
//! is wrong with it, and what to write instead.
//!
//! A [`Document`] is a text that is TOML. Its [`Table`]s refuse keys that they do not know, with a suggestion, and read
//! values together with the place where they stand. Whatever is wrong is a [`Fault`] at a place, from which
//! [`Fault::locate`] makes the [`SettingsError`] that people see. What a file may say is its reader's matter.
//!
//! ```
//! use mvpnet_settings::{Document, Fault, Lists};
//!
//! fn ranks(source: &str) -> Result<u32, Fault> {
//!     let document = Document::parse(source, Lists { what: "traffic", key: "traffic" })?;
//!     let table = document.table("a scenario");
//!     table.knows(&["ranks", "name"])?;
//!     Ok(table.required("ranks", "write how many there are, like `ranks = 4`", |table, key| table.number(key))?.0)
//! }
//!
//! assert_eq!(ranks("ranks = 4").unwrap(), 4);
//! let error = ranks("ranks = 4\nnane = \"x\"").unwrap_err().locate("case.toml", "ranks = 4\nnane = \"x\"");
//! assert_eq!(error.to_string(), "\
//! case.toml:2:1: a scenario has no key `nane`
//!     2 | nane = \"x\"
//!       | ^^^^
//!   did you mean `name`?");
//! ```

#![forbid(unsafe_code)]

mod advice;
mod document;
mod error;
mod table;
mod units;
mod values;

pub use advice::{Advice, for_unit, one_of};
pub use document::{Document, Lists};
pub use error::{Fault, SettingsError};
pub use table::{Found, Table};
pub use units::binary_size;
