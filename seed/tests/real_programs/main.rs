//! What the programs make of it that read it in the end: cloud-init, ssh, the shell, and readers of ISO 9660.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

mod cloud_init;
mod cost;
mod guest_script;
mod image;
mod setting;
mod ssh;
