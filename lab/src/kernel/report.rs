//! What was done.

use std::fmt;

use serde::Serialize;

/// What became of a plan or of a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was done, in this order. Nothing: everything was as it should be.
    pub done: Vec<Done>,
    /// Interfaces of the same name that the plan does not have, which stay.
    pub kept: Vec<String>,
}

/// Something that was done to an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "did", rename_all = "lowercase")]
pub enum Done {
    /// It was not there.
    Made {
        /// Its name.
        interface: String,
    },
    /// It was there, and something was not right.
    Mended {
        /// Its name.
        interface: String,
        /// What was not right.
        was: Vec<String>,
    },
    /// It was there, with something that cannot be changed, and was made anew.
    Replaced {
        /// Its name.
        interface: String,
        /// What was not right.
        was: Vec<String>,
    },
    /// It is gone.
    Removed {
        /// Its name.
        interface: String,
    },
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made { interface } => write!(f, "made {interface}"),
            Self::Mended { interface, was } => write!(f, "mended {interface}: {}", was.join(", ")),
            Self::Replaced { interface, was } => write!(f, "replaced {interface}: {}", was.join(", ")),
            Self::Removed { interface } => write!(f, "removed {interface}"),
        }
    }
}

/// A line for each thing, with its end; the empty text if there is nothing to say.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for done in &self.done {
            writeln!(f, "{done}")?;
        }
        for interface in &self.kept {
            writeln!(f, "kept {interface}, which is not in the plan")?;
        }
        Ok(())
    }
}
