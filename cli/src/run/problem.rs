//! What keeps a rank from beginning, in the words in which rank 0 is told.

use mvpnet_node::job::Problem;

use crate::args::Usage;

/// Wrong usage, as a problem to be told to rank 0.
pub fn usage(error: Usage) -> Problem {
    wrong(error.to_string())
}

/// The command line is to blame.
pub fn wrong(text: String) -> Problem {
    Problem { text, usage: true, of_job: false }
}

/// The machine is to blame.
pub fn unable(text: String) -> Problem {
    Problem { text, usage: false, of_job: false }
}
