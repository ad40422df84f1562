//! Scenarios: a simulation as a short text, for `mvpnet sim` and for failing cases that are worth keeping.
//!
//! A [`Scenario`] is plain data. It says how many ranks there are, how their links are, who sends what to whom, and
//! what changes when. It is read from TOML and written as TOML, and runs on a [`Sim`](crate::Sim).
//!
//! ```ignore
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

mod check;
mod model;

pub use check::{Invalid, Place};
pub use model::{Kind, Ranks, Scenario, Targets, Traffic};
