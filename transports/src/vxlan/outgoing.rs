//! What waits to be sent, in a list per socket, and which of it goes in one system call. Pure.
//!
//! Frames of a socket keep their order. A run is what one call can send: datagrams of one tunnel and one length,
//! the last of which may be shorter (udp(7), UDP_SEGMENT).

use std::io::IoSlice;
use std::ops::Range;

use super::header::HEADER_LEN;
use super::intake::Arena;
use super::table::TunnelId;

/// Datagrams in one run: what older kernels take (`UDP_MAX_SEGMENTS`, `include/linux/udp.h`; 128 since 6.9).
pub(super) const MAX_RUN: usize = 64;
/// Bytes in one run: they pass the kernel as one packet, whose length has 16 bits.
const MAX_RUN_LEN: usize = 65_000;
/// A frame may need two pieces of memory: its header and itself.
pub(super) const MAX_SLICES: usize = 2 * MAX_RUN;

/// No copy.
const NONE: u32 = u32::MAX;

/// One copy of a frame on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub tunnel: TunnelId,
    pub arena: Arena,
    /// The frame in its arena.
    pub start: u32,
    pub len: u32,
    /// The VXLAN header, where it is not in front of the frame already.
    pub head: Option<[u8; HEADER_LEN]>,
}

impl Outgoing {
    pub fn bytes(&self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// Where the bytes are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arenas<'a> {
    pub received: &'a [u8],
    pub cut: &'a [u8],
    pub copies: &'a [u8],
}

impl<'a> Arenas<'a> {
    #[inline]
    pub fn of(&self, arena: Arena) -> &'a [u8] {
        match arena {
            Arena::Received => self.received,
            Arena::Cut => self.cut,
            Arena::Copies => self.copies,
        }
    }
}

/// The lists.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: Vec<(Outgoing, u32)>,
    /// First and last item of each socket.
    lists: Vec<(u32, u32)>,
    /// The sockets whose lists are not empty.
    busy: Vec<u32>,
}

/// What one call sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first item.
    first: u32,
    /// How many.
    pub count: usize,
    /// Bytes of every datagram but the last.
    pub datagram_len: usize,
}

impl Queue {
    /// Makes room for the lists of as many sockets.
    pub fn grow(&mut self, sockets: usize) {
        if self.lists.len() < sockets {
            self.lists.resize(sockets, (NONE, NONE));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.busy.is_empty()
    }

    /// Appends to a socket's list. There is room for the socket's list.
    #[inline]
    pub fn push(&mut self, socket: usize, outgoing: Outgoing) {
        // Fewer than 2^32 items wait: each has been received or copied into an arena smaller than that.
        let item = self.items.len() as u32;
        self.items.push((outgoing, NONE));
        let list = &mut self.lists[socket];
        if list.0 == NONE {
            *list = (item, item);
            self.busy.push(socket as u32);
        } else {
            self.items[list.1 as usize].1 = item;
            list.1 = item;
        }
    }

    /// One of the sockets with something to send, numbered from zero on.
    pub fn busy(&self, number: usize) -> Option<usize> {
        self.busy.get(number).map(|socket| *socket as usize)
    }

    /// The next run of a socket; `segments` says whether a run may be longer than one. `None` where nothing
    /// waits for it any more.
    #[inline]
    pub fn run(&self, socket: usize, segments: bool) -> Option<Run> {
        let first = self.lists[socket].0;
        let (head, after) = self.items.get(first as usize)?;
        let mut next = *after;
        let datagram_len = HEADER_LEN + head.len as usize;
        let (mut count, mut bytes) = (1, datagram_len);
        let most = if segments { MAX_RUN.min(MAX_RUN_LEN / datagram_len) } else { 1 };
        while count < most && next != NONE {
            let (item, after) = &self.items[next as usize];
            let len = HEADER_LEN + item.len as usize;
            // Receivers may choose a socket by the VNI of a run's first datagram.
            if len > datagram_len || item.tunnel != head.tunnel {
                break;
            }
            (count, bytes, next) = (count + 1, bytes + len, *after);
            if len < datagram_len {
                break;
            }
        }
        debug_assert!(bytes <= MAX_RUN_LEN || count == 1);
        Some(Run { first, count, datagram_len })
    }

    /// The memory of a run, in order: written to the front of `slices`. Neighbours are one.
    pub fn gather<'a>(
        &'a self,
        run: Run,
        arenas: &Arenas<'a>,
        slices: &mut [IoSlice<'a>; MAX_SLICES],
    ) -> usize {
        let mut used = 0;
        let mut open: Option<(Arena, Range<usize>)> = None;
        let mut put = |bytes: &'a [u8]| {
            slices[used] = IoSlice::new(bytes);
            used += 1;
        };
        for item in self.items(run) {
            let bytes = item.bytes();
            let whole = match item.head {
                Some(_) => bytes,
                None => bytes.start - HEADER_LEN..bytes.end,
            };
            if let Some((arena, range)) = &mut open {
                if item.head.is_none() && *arena == item.arena && range.end == whole.start {
                    range.end = whole.end;
                    continue;
                }
                put(&arenas.of(*arena)[range.clone()]);
            }
            if let Some(head) = &item.head {
                put(head);
            }
            open = Some((item.arena, whole));
        }
        if let Some((arena, range)) = open {
            put(&arenas.of(arena)[range]);
        }
        used
    }

    /// The items of a run.
    pub fn items(&self, run: Run) -> impl Iterator<Item = &Outgoing> {
        let mut next = run.first;
        (0..run.count).map_while(move |_| {
            let (item, after) = self.items.get(next as usize)?;
            next = *after;
            Some(item)
        })
    }

    /// The run is done with.
    pub fn pop(&mut self, socket: usize, run: Run) {
        let mut next = run.first;
        for _ in 0..run.count {
            next = self.items.get(next as usize).map_or(NONE, |(_, after)| *after);
        }
        self.lists[socket].0 = next;
        if next == NONE {
            self.busy.retain(|busy| *busy as usize != socket);
        }
        if self.busy.is_empty() {
            self.items.clear();
        }
    }
}

#[cfg(test)]
mod tests;
