//! The parts of the `mvpnet` program: arguments, logs and progress.
//!
//! They live in a library so that each can be tested alone; `main.rs` joins them. What a rank *does*
//! lives in the node crate, not here.

pub mod args;
pub mod bridge;
mod columns;
pub mod doctor;
pub mod fault;
mod input;
pub mod lab;
pub mod logs;
pub mod progress;
pub mod run;
pub mod sim;
pub mod ssh;
