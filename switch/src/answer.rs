//! The switch's own part in ARP, neighbour discovery and DHCP: it answers what guests ask about ranks.
//!
//! Only untagged frames from the guest get here, and answers go only to the guest.

mod arp;
mod dhcp;
mod ndp;

use etherparse::EtherType;

use crate::frame::Head;
use crate::{Config, Control, DropReason, ReplyKind};

/// Makes answers, in a buffer of its own.
#[derive(Debug)]
pub(crate) struct Answerer {
    reply: Reply,
    host_name: dhcp::HostName,
}

/// What became of a frame that might be a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The answer is in the reply buffer.
    Reply(ReplyKind),
    /// It was a message to the job.
    Control(Control),
    /// It is a frame like any other.
    NotForUs,
}

/// The longest answer: a DHCP message of 576 bytes of IPv4, with its Ethernet header.
const MAX_REPLY_LEN: usize = 14 + 576;
/// The shortest frame of Ethernet, without its check sequence (IEEE 802.3 §4.2.3.3); shorter ones are padded.
const MIN_FRAME_LEN: usize = 60;

/// A frame under construction.
#[derive(Debug)]
pub(crate) struct Reply {
    bytes: [u8; MAX_REPLY_LEN],
    len: usize,
}

impl Answerer {
    pub(crate) fn new(config: &Config) -> Answerer {
        let reply = Reply { bytes: [0; MAX_REPLY_LEN], len: 0 };
        Answerer { reply, host_name: dhcp::HostName::new(config) }
    }

    /// The last answer.
    pub(crate) fn reply(&self) -> &[u8] {
        &self.reply.bytes[..self.reply.len]
    }

    /// Answers an untagged frame of the guest, if it asks for something that the switch knows.
    pub(crate) fn answer(&mut self, config: &Config, head: &Head<'_>) -> Result<Answer, DropReason> {
        match head.untagged_type() {
            Some(EtherType::ARP) => arp::answer(config, head, &mut self.reply),
            Some(EtherType::IPV6) => ndp::answer(config, head, &mut self.reply),
            Some(EtherType::IPV4) => dhcp::answer(config, &self.host_name, head, &mut self.reply),
            _ => Ok(Answer::NotForUs),
        }
    }
}

impl Reply {
    /// Makes the frame of these parts, padded to Ethernet's minimum.
    fn assemble(&mut self, parts: &[&[u8]]) {
        self.len = 0;
        for part in parts {
            self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
            self.len += part.len();
        }
        if self.len < MIN_FRAME_LEN {
            self.bytes[self.len..MIN_FRAME_LEN].fill(0);
            self.len = MIN_FRAME_LEN;
        }
    }
}
