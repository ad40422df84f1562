//! One rank: the frame loop, the capture, the life of the job, and the socket by which it is changed. And the bridge
//! of guests whose frames come as VXLAN.

pub mod bridge;
pub mod capture;
pub mod clock;
pub mod control;
pub mod frame_loop;
pub mod job;
mod mailbox;
pub mod session;
