//! The switch's own part in ARP, neighbour discovery and DHCP: it answers what guests ask about ranks.
//!
//! Only untagged frames from the guest get here, and answers go only to the guest.

mod arp;
mod dhcp;
mod ndp;

use etherparse::EtherType;

use crate::frame::Head;
use crate::reply::Reply;
use crate::{Config, Control, DropReason, ReplyKind, Topology};

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

impl Answerer {
    pub(crate) fn new(config: &Config) -> Answerer {
        Answerer { reply: Reply::default(), host_name: dhcp::HostName::new(config) }
    }

    /// The last answer.
    pub(crate) fn reply(&self) -> &[u8] {
        self.reply.frame()
    }

    /// Where answers are made.
    pub(crate) fn buffer(&mut self) -> &mut Reply {
        &mut self.reply
    }

    /// Answers an untagged frame of the guest, if it asks for something that the switch knows.
    #[inline]
    pub(crate) fn answer(&mut self, config: &Config, head: &Head<'_>) -> Result<Answer, DropReason> {
        if let Topology::Tunnel(_) = config.topology {
            return self.answer_before_tunnel(config, head);
        }
        match head.untagged_type() {
            Some(EtherType::ARP) => arp::answer(config, head, &mut self.reply),
            Some(EtherType::IPV6) => ndp::answer(config, head, &mut self.reply),
            Some(EtherType::IPV4) => dhcp::answer(config, &self.host_name, head, &mut self.reply),
            _ => Ok(Answer::NotForUs),
        }
    }

    /// The same before a tunnel. Who has which address is the business of those who are on the network
    /// behind it; but the guest gets its own from here.
    #[inline(never)]
    fn answer_before_tunnel(&mut self, config: &Config, head: &Head<'_>) -> Result<Answer, DropReason> {
        match head.untagged_type() {
            Some(EtherType::ARP) => Ok(arp::answer_before_tunnel(config, head)),
            Some(EtherType::IPV6) => Ok(ndp::answer_before_tunnel(config, head, &mut self.reply)),
            Some(EtherType::IPV4) => dhcp::answer(config, &self.host_name, head, &mut self.reply),
            _ => Ok(Answer::NotForUs),
        }
    }
}
