//! Frames by the driver of our own: out of its buffers and into them.

use mvpnet_switch::OFFLOAD_LEN;

use super::super::ring::{DESCRIPTOR_LEN, Descriptor};
use super::super::{FROM_GUEST, TO_GUEST};
use super::queue::write_descriptor;
use super::{Front, GUEST_BASE};

impl Front {
    /// Hands over frames, each with the header in front of it if anything is left to be done to it. Returns how many
    /// were taken: fewer than there are if the ring is full. One that needs more buffers than the ring has is never
    /// taken.
    pub fn send<'a>(
        &mut self,
        frames: impl IntoIterator<Item = (Option<&'a [u8; OFFLOAD_LEN]>, &'a [u8])>,
    ) -> usize {
        let mut taken = 0;
        self.is_short = false;
        for (header, frame) in frames {
            let header = header.unwrap_or(&[0; OFFLOAD_LEN]);
            let buffers = self.header_len() + frame.len();
            let buffers = buffers.div_ceil(self.config.send_buffer_len);
            if self.free.len() < buffers {
                self.reclaim();
            }
            if self.free.len() < buffers {
                self.is_short = true;
                break;
            }
            self.send_one(header, frame, buffers);
            taken += 1;
        }
        self.publish(FROM_GUEST);
        taken
    }

    /// Takes back the buffers of frames that were sent. Returns the number of frames.
    pub fn reclaim(&mut self) -> usize {
        let queue = &mut self.queues[FROM_GUEST];
        queue.look();
        let mut frames = 0;
        while let Some((head, _)) = queue.take() {
            let mut buffer = head;
            loop {
                self.free.push(buffer);
                match self.next[usize::from(buffer)] {
                    next if next == buffer => break,
                    next => buffer = next,
                }
            }
            frames += 1;
        }
        frames
    }

    /// Takes the frames that have come, and gives their buffers back. Returns the number of frames.
    ///
    /// # Panics
    /// If the back end breaks the rules: gives back what it was not given, or a part of a frame.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8; OFFLOAD_LEN], &[u8])) -> usize {
        self.queues[TO_GUEST].look();
        let mut frames = 0;
        while let Some((head, len)) = self.queues[TO_GUEST].take() {
            frames += usize::from(self.receive_one(head, len as usize, &mut each));
        }
        self.publish(TO_GUEST);
        frames
    }

    /// Copies a frame into so many free buffers and offers it.
    #[inline]
    fn send_one(&mut self, header: &[u8; OFFLOAD_LEN], mut frame: &[u8], buffers: usize) {
        let buffer_len = self.config.send_buffer_len;
        let header_len = self.header_len();
        let table = (self.config.indirect && buffers > 1).then_some(buffers);
        let head = self.free[self.free.len() - 1];
        let mut room = buffer_len - header_len;
        let mut skip = header_len;
        for nth in 0..buffers {
            let buffer = self.free.pop().expect("there are as many as were asked for");
            let is_last = nth + 1 == buffers;
            let next = if is_last { buffer } else { self.free[self.free.len() - 1] };
            self.next[usize::from(buffer)] = next;
            let at = self.layout.send_buffers + usize::from(buffer) * buffer_len;
            let (part, rest) = frame.split_at(room.min(frame.len()));
            self.memory.write(at + skip, part);
            if nth == 0 {
                self.memory.write(at, &header[..header_len]);
            }
            let len = u32::try_from(skip + part.len()).expect("buffers are short");
            let flags = if is_last { 0 } else { Descriptor::NEXT };
            let address = GUEST_BASE + at as u64;
            match table {
                None => self.queues[FROM_GUEST].describe(buffer, Descriptor { address, len, flags, next }),
                Some(_) => {
                    let next = u16::try_from(nth + 1).expect("a table has few entries");
                    let at = self.table(head) + nth * DESCRIPTOR_LEN;
                    write_descriptor(&self.memory, at, Descriptor { address, len, flags, next });
                }
            }
            (frame, room, skip) = (rest, buffer_len, 0);
        }
        if let Some(entries) = table {
            let len = u32::try_from(entries * DESCRIPTOR_LEN).expect("a table has few entries");
            let address = GUEST_BASE + self.table(head) as u64;
            let descriptor = Descriptor { address, len, flags: Descriptor::INDIRECT, next: 0 };
            self.queues[FROM_GUEST].describe(head, descriptor);
        }
        self.queues[FROM_GUEST].offer(head);
    }

    fn table(&self, head: u16) -> usize {
        self.layout.tables + usize::from(head) * self.layout.table_size * DESCRIPTOR_LEN
    }

    /// Copies a frame out of its buffers and offers them again. False for a buffer that came back empty.
    #[inline]
    fn receive_one(
        &mut self,
        first: u16,
        len: usize,
        each: &mut impl FnMut(&[u8; OFFLOAD_LEN], &[u8]),
    ) -> bool {
        let header_len = self.header_len();
        let at = |front: &Front, buffer: u16| {
            front.layout.receive_buffers + usize::from(buffer) * front.config.receive_buffer_len
        };
        if len < header_len {
            self.queues[TO_GUEST].offer(first);
            return false;
        }
        let mut header = [0; OFFLOAD_LEN];
        self.memory.read(at(self, first), &mut header[..header_len]);
        let mut filled = len - header_len;
        self.memory.read(at(self, first) + header_len, &mut self.scratch[..filled]);
        self.queues[TO_GUEST].offer(first);
        let count = if self.config.mergeable { u16::from_le_bytes([header[10], header[11]]) } else { 1 };
        assert!(count > 0, "a frame in no buffers");
        for _ in 1..count {
            let (buffer, len) =
                self.queues[TO_GUEST].take().expect("all buffers of a frame come back at once");
            let len = len as usize;
            self.memory.read(at(self, buffer), &mut self.scratch[filled..filled + len]);
            filled += len;
            self.queues[TO_GUEST].offer(buffer);
        }
        each(&header, &self.scratch[..filled]);
        true
    }
}
