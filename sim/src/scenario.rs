//! Scenarios: a simulation as a short text, for `mvpnet sim` and for failing cases that are worth keeping.
//!
//! A [`Scenario`] is plain data. It says how many ranks there are, how their links are, who sends what to whom, and
//! what changes when. It is read from TOML and written as TOML, and runs on a [`Sim`](crate::Sim).
//!
//! ```
//! use mvpnet_sim::scenario::Scenario;
//!
//! let scenario: Scenario = r#"
//!     seed = 1
//!     ranks = 2
//!     duration = "10s"
//!     links = "campus"
//!
//!     [[traffic]]
//!     kind = "ping"
//!     from = "0"
//!     to = "1"
//!     count = 5
//! "#
//! .parse()?;
//! let report = scenario.run(1)?;
//! assert_eq!(report.rows[0].received, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The modules
//!
//! | module | what lives there |
//! | --- | --- |
//! | `model` | what a scenario consists of |
//! | `check` | what a scenario must not say |
//! | `read`, `write` | from and to TOML; what is generic about it is in `mvpnet_settings` |
//! | `suggest` | what to write instead of what is wrong |
//! | `run` | a scenario on a simulation |
//! | `station`, `job`, `programs` | its guests, what they have to send, and how hosts send it |
//! | `stamp`, `content` | what frames, datagrams and connections carry |
//! | `tally`, `report`, `lines`, `page` | what came of it: as it comes, at the end, as a table, as an HTML page |

mod check;
mod content;
mod job;
mod lines;
mod model;
mod page;
mod programs;
mod read;
mod report;
mod run;
mod stamp;
mod station;
mod suggest;
mod tally;
mod times;
mod write;

pub use check::{Invalid, Place};
pub use model::{Kind, Ranks, Scenario, Targets, Traffic};
pub use report::{Report, Row};
pub use run::{Run, RunError};
pub use times::Times;

/// Why a text is no scenario. It shows the line that is wrong.
pub type ScenarioError = mvpnet_settings::SettingsError;

#[cfg(test)]
mod tests;
