//! The stack's network card: two queues of frames.

use std::collections::VecDeque;
use std::rc::Rc;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// Length of an Ethernet header without tags (IEEE 802.3 §3.1).
const ETHERNET_HEADER_LEN: usize = 14;

/// Frames that have come and frames that are to go.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) incoming: VecDeque<Rc<[u8]>>,
    pub(super) outgoing: Vec<Rc<[u8]>>,
    mtu: usize,
}

impl Wire {
    pub(super) fn new(mtu: u32) -> Wire {
        Wire { incoming: VecDeque::new(), outgoing: Vec::new(), mtu: mtu as usize }
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Slot<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Slot<'_>)> {
        let frame = self.incoming.pop_front()?;
        Some((Received(frame), Slot(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Slot<'_>> {
        Some(Slot(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + ETHERNET_HEADER_LEN;
        capabilities
    }
}

/// A frame that has come.
pub(super) struct Received(Rc<[u8]>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// A place for a frame that is to go.
pub(super) struct Slot<'a>(&'a mut Vec<Rc<[u8]>>);

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(Rc::from(frame));
        result
    }
}
