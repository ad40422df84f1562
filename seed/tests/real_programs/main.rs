//! What the programs make of it that read it in the end: cloud-init, ssh, the shell, and readers of ISO 9660.

mod cloud_init;
mod guest_script;
mod image;
mod setting;
mod ssh;
