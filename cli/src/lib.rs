//! The parts of the `mvpnet` program: arguments, logs and progress.
//!
//! They live in a library so that each can be tested alone; `main.rs` joins them. What a rank *does*
//! lives in the node crate, not here.

pub mod args;
pub mod bridge;
pub mod check;
mod columns;
pub mod command_line;
pub mod console;
pub mod doctor;
pub mod down;
pub mod exec;
pub mod fault;
pub mod gc;
mod input;
mod job;
pub mod lab;
pub mod logs;
pub mod node_set;
pub mod port;
pub mod progress;
pub mod ps;
pub mod reset;
pub mod rsh;
pub mod run;
pub mod seed;
pub(crate) mod session;
pub mod sim;
pub mod ssh;
pub mod status;
