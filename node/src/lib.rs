//! One rank: the frame loop, the capture, and the life of the job.

pub mod capture;
pub mod clock;
pub mod frame_loop;
pub mod job;
