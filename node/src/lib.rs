//! One rank: the frame loop, the capture, the life of the job, and the socket by which it is changed.

pub mod capture;
pub mod clock;
pub mod control;
pub mod frame_loop;
pub mod job;
