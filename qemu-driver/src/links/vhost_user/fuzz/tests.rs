//! The corpus: every file does what its name says. `MVPNET_WRITE_CORPUS=1 cargo test -p mvpnet-qemu-driver corpus`
//! writes the named files anew.

use std::collections::BTreeMap;

use super::*;

#[path = "../../../../../fuzz/replay.rs"]
mod replay;

/// How most guests are.
const LINUX: u8 = EVENT_IDX | INDIRECT | MERGEABLE;
/// Where guests have their buffers and tables.
const BUFFERS: u16 = 0x4000;
const TABLE: u16 = 0x3000;

fn seed(flags: u8, operations: &[Operation<'_>]) -> Vec<u8> {
    let operations: Vec<Vec<u8>> = operations.iter().map(Operation::write).collect();
    [vec![flags], operations.concat()].concat()
}

fn describe(ring: usize, index: u8, address: u64, len: u32, flags: u16, next: u16) -> Operation<'static> {
    Operation::Describe { ring: ring as u8, index, descriptor: Descriptor { address, len, flags, next } }
}

fn offer(ring: usize, head: u16) -> Operation<'static> {
    Operation::Offer { ring: ring as u8, head }
}

/// A guest sends from one buffer.
fn from_buffer(flags: u8, address: u64, len: u32, buffer_flags: u16) -> Vec<u8> {
    let buffer = describe(FROM_GUEST, 0, address, len, buffer_flags, 0);
    seed(flags, &[buffer, offer(FROM_GUEST, 0), RECEIVE])
}

const RECEIVE: Operation<'static> = Operation::Receive { space: u16::MAX };

/// A front end sends one message.
fn request(request: &Request, needs_reply: bool, fds: u8, fd_kind: u8) -> Vec<u8> {
    let (code, payload) = (request.code() as u8, request.payload());
    seed(LINUX, &[Operation::Request { code, needs_reply, fds, fd_kind, payload: &payload }, RECEIVE])
}

fn octets(octets: &[u8], fds: u8) -> Vec<u8> {
    seed(LINUX, &[Operation::Octets { fds, fd_kind: 2, octets }, RECEIVE])
}

/// A guest's own mistakes.
fn refused() -> Vec<(&'static str, Vec<u8>, (DropReason, usize))> {
    const NEXT: u16 = Descriptor::NEXT;
    const TABLE_FLAG: u16 = Descriptor::INDIRECT;
    let bad = (DropReason::BadDescriptor, 0);
    let end = MEMORY as u64;
    let in_table = |entry: [u64; 2]| {
        let octets = entry.map(u64::to_le_bytes).concat();
        let table = describe(FROM_GUEST, 0, TABLE.into(), 16, TABLE_FLAG, 0);
        seed(LINUX, &[Operation::Memory { at: TABLE, octets: &octets }, table, offer(FROM_GUEST, 0), RECEIVE])
    };
    let flags = |flags: u16| 16 | u64::from(flags) << 32;
    let header = |header: [u8; 12]| {
        let buffer = describe(FROM_GUEST, 0, BUFFERS.into(), 112, 0, 0);
        let header = Operation::Memory { at: BUFFERS, octets: &header };
        seed(LINUX, &[header, buffer, offer(FROM_GUEST, 0), RECEIVE])
    };
    vec![
        ("loop", from_buffer(LINUX, BUFFERS.into(), 10, NEXT), bad),
        ("buffer-across-the-end", from_buffer(LINUX, end - 10, 72, 0), bad),
        ("buffer-beyond-the-end", from_buffer(LINUX, end, 72, 0), bad),
        ("buffer-at-the-last-address", from_buffer(LINUX, u64::MAX, u32::MAX, 0), bad),
        ("buffer-to-be-written", from_buffer(LINUX, BUFFERS.into(), 72, Descriptor::WRITE), bad),
        ("chain-of-nothing", from_buffer(LINUX, BUFFERS.into(), 0, 0), bad),
        ("chain-without-a-header", from_buffer(LINUX, BUFFERS.into(), 11, 0), bad),
        ("head-beyond-the-ring", seed(LINUX, &[offer(FROM_GUEST, 8), RECEIVE]), bad),
        ("table-of-nothing", from_buffer(LINUX, TABLE.into(), 0, TABLE_FLAG), bad),
        ("table-of-odd-length", from_buffer(LINUX, TABLE.into(), 40, TABLE_FLAG), bad),
        ("table-that-goes-on", from_buffer(LINUX, TABLE.into(), 16, TABLE_FLAG | NEXT), bad),
        ("table-that-was-not-negotiated", from_buffer(EVENT_IDX, TABLE.into(), 16, TABLE_FLAG), bad),
        ("table-in-a-table", in_table([TABLE.into(), flags(TABLE_FLAG)]), bad),
        ("next-beyond-the-table", in_table([BUFFERS.into(), flags(NEXT) | 1 << 48]), bad),
        ("empty-frame", from_buffer(LINUX, BUFFERS.into(), 12, 0), (DropReason::BadLength, 0)),
        ("frame-too-long", from_buffer(LINUX, BUFFERS.into(), 69_645, 0), (DropReason::BadLength, 69_633)),
        (
            "segments-without-a-checksum",
            header([0, 1, 0, 0, 1, 0, 34, 0, 16, 0, 0, 0]),
            (DropReason::BadOffload, 100),
        ),
        (
            "checksum-beyond-the-frame",
            header([1, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0]),
            (DropReason::BadOffload, 100),
        ),
        ("unknown-segments", header([1, 3, 0, 0, 9, 0, 34, 0, 16, 0, 0, 0]), (DropReason::BadOffload, 100)),
        (
            "offload-of-a-legacy-driver",
            seed(
                MERGEABLE | LEGACY,
                &[
                    Operation::Memory { at: BUFFERS, octets: &[1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0] },
                    describe(FROM_GUEST, 0, BUFFERS.into(), 112, 0, 0),
                    offer(FROM_GUEST, 0),
                    RECEIVE,
                ],
            ),
            (DropReason::BadOffload, 100),
        ),
    ]
}

/// Frames that pass.
fn passed() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    const NEXT: u16 = Descriptor::NEXT;
    const WRITE: u16 = Descriptor::WRITE;
    let received = |received| Outcome { received, ..Outcome::default() };
    let given = |given| Outcome { given, ..Outcome::default() };
    let buffers = u64::from(BUFFERS);
    let frame = |len| Operation::Frame { header: None, len };
    let table = [buffers, 12 | 1 << 32 | 1 << 48, buffers + 100, 60].map(u64::to_le_bytes).concat();
    let super_header = [1, 1, 54, 0, 100, 0, 34, 0, 16, 0, 0, 0];
    let buffer = |index: u8| describe(TO_GUEST, index, buffers + u64::from(index) * 500, 500, WRITE, 0);
    vec![
        ("frame-from-the-guest", from_buffer(LINUX, buffers, 72, 0), received(1)),
        ("longest-frame", from_buffer(LINUX, buffers, 12 + 69_632, 0), received(1)),
        ("short-header", from_buffer(LEGACY, buffers, 11, 0), received(1)),
        (
            "frame-in-two-buffers",
            seed(
                LINUX,
                &[
                    describe(FROM_GUEST, 0, buffers, 12, NEXT, 5),
                    describe(FROM_GUEST, 5, buffers, 60, 0, 0),
                    offer(FROM_GUEST, 0),
                    RECEIVE,
                ],
            ),
            received(1),
        ),
        (
            "frame-in-a-table",
            seed(
                LINUX,
                &[
                    Operation::Memory { at: TABLE, octets: &table },
                    describe(FROM_GUEST, 3, TABLE.into(), 32, Descriptor::INDIRECT, 0),
                    offer(FROM_GUEST, 3),
                    RECEIVE,
                ],
            ),
            received(1),
        ),
        (
            "super-frame-from-the-guest",
            seed(
                LINUX,
                &[
                    Operation::Memory { at: BUFFERS, octets: &super_header },
                    Operation::Memory { at: BUFFERS + 12 + 34 + 12, octets: &[0x50] },
                    describe(FROM_GUEST, 0, buffers, 4000, 0, 0),
                    offer(FROM_GUEST, 0),
                    RECEIVE,
                ],
            ),
            received(1),
        ),
        (
            "space-too-small",
            seed(
                LINUX,
                &[
                    describe(FROM_GUEST, 0, buffers, 72, 0, 0),
                    offer(FROM_GUEST, 0),
                    Operation::Receive { space: 31 },
                    Operation::Sleep { receives: true, writes: true },
                    Operation::Receive { space: 32 },
                ],
            ),
            received(1),
        ),
        ("frame-to-the-guest", seed(LINUX, &[buffer(0), offer(TO_GUEST, 0), frame(99)]), given(1)),
        (
            "frame-to-the-guest-in-three-buffers",
            seed(
                LINUX,
                &[
                    buffer(0),
                    buffer(1),
                    buffer(2),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 1),
                    frame(999),
                    Operation::Sleep { receives: true, writes: true },
                    offer(TO_GUEST, 2),
                    Operation::Kick,
                    frame(999),
                ],
            ),
            given(1),
        ),
        (
            "super-frame-to-the-guest",
            seed(
                LINUX,
                &[
                    describe(TO_GUEST, 0, buffers, 9000, WRITE, 0),
                    offer(TO_GUEST, 0),
                    Operation::Frame { header: Some(super_header), len: 4000 },
                ],
            ),
            given(1),
        ),
        (
            "frame-too-long-for-its-buffer",
            seed(EVENT_IDX, &[buffer(0), offer(TO_GUEST, 0), frame(500), frame(400)]),
            Outcome { unsendable: 1, ..given(1) },
        ),
        (
            "frame-too-long-for-all-buffers",
            seed(
                LINUX,
                &[
                    buffer(0),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 0),
                    frame(4000),
                ],
            ),
            Outcome { unsendable: 1, ..Outcome::default() },
        ),
        (
            "received-into-the-ring-itself",
            seed(
                LINUX,
                &[
                    describe(TO_GUEST, 0, 0, 0x800, WRITE, 0),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 0),
                    frame(1900),
                    frame(1900),
                ],
            ),
            Outcome { rings_broken: 1, ..given(1) },
        ),
        (
            "records-that-are-none",
            seed(
                LINUX,
                &[Operation::Write { octets: &[0x40, 0, 0, 1, 7, 0, 0, 0, 0, 0x80, 0, 0, 2, 1, 1, 9] }],
            ),
            Outcome { unsendable: 4, ..Outcome::default() },
        ),
        (
            "bad-buffer-amid-a-frame",
            seed(
                LINUX,
                &[
                    buffer(0),
                    describe(TO_GUEST, 1, u64::MAX, 500, WRITE, 0),
                    describe(TO_GUEST, 2, buffers, 2000, WRITE, 0),
                    offer(TO_GUEST, 0),
                    offer(TO_GUEST, 1),
                    offer(TO_GUEST, 2),
                    frame(999),
                    Operation::Refusals,
                ],
            ),
            Outcome { refused: vec![(DropReason::BadDescriptor, 0)], ..given(1) },
        ),
        (
            "index-out-of-reach",
            seed(LINUX, &[Operation::Memory { at: 0x1102, octets: &[9, 0] }, RECEIVE, RECEIVE]),
            Outcome { rings_broken: 1, ..Outcome::default() },
        ),
    ]
}

/// What front ends do.
fn asked() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    let nothing = Outcome::default;
    let refused = || Outcome { requests_refused: 1, ..nothing() };
    let ended = || Outcome { is_closed: true, ..nothing() };
    let given_up = || Outcome { is_closed: true, ..refused() };
    let fd = |ring| RingFd { ring, has_fd: true };
    let region = RegionEntry { len: MEMORY as u64, ..RegionEntry::default() };
    let header = Header { request: 3, is_reply: false, needs_reply: false, payload_len: 0 }.write();
    let [vring_base, kick] = [Request::VringBase { ring: 1 }, Request::SetVringKick(fd(1))];
    let (base_payload, kick_payload) = (vring_base.payload(), kick.payload());
    let restart = [
        describe(FROM_GUEST, 0, BUFFERS.into(), 72, 0, 0),
        offer(FROM_GUEST, 0),
        RECEIVE,
        Operation::Request { code: 11, needs_reply: false, fds: 0, fd_kind: 0, payload: &base_payload },
        offer(FROM_GUEST, 0),
        RECEIVE,
        Operation::Request { code: 12, needs_reply: false, fds: 1, fd_kind: 3, payload: &kick_payload },
        RECEIVE,
    ];
    vec![
        ("ring-stopped-and-started", seed(LINUX, &restart), Outcome { received: 2, ..nothing() }),
        ("unknown-request", request(&Request::Unknown(77), true, 0, 0), refused()),
        ("unknown-request-with-descriptors", request(&Request::Unknown(77), false, 8, 2), refused()),
        ("unknown-request-with-too-many-descriptors", request(&Request::Unknown(77), true, 9, 2), ended()),
        ("features-that-were-not-offered", request(&Request::SetFeatures(1 << 40), true, 0, 0), refused()),
        ("ring-of-an-odd-size", request(&Request::SetVringNum { ring: 0, size: 7 }, true, 0, 0), refused()),
        ("third-ring", request(&Request::SetVringEnable { ring: 2, enable: 1 }, false, 0, 0), given_up()),
        ("index-of-a-third-ring", request(&Request::VringBase { ring: 2 }, true, 0, 0), given_up()),
        ("kick-without-a-descriptor", request(&kick, true, 0, 0), refused()),
        ("kick-by-a-file", request(&kick, true, 1, 0), refused()),
        ("kick-by-a-socket", request(&kick, true, 1, 2), nothing()),
        ("call-by-a-socket", request(&Request::SetVringCall(fd(1)), true, 1, 2), nothing()),
        ("memory-that-is-not-sealed", request(&Request::SetMemTable(vec![region]), true, 1, 1), refused()),
        ("memory-without-a-file", request(&Request::SetMemTable(vec![region]), true, 0, 0), refused()),
        ("memory-in-seven-regions", request(&Request::SetMemTable(vec![region; 7]), true, 7, 0), nothing()),
        (
            "memory-beyond-its-file",
            request(&Request::SetMemTable(vec![RegionEntry { file_offset: 1, ..region }]), true, 1, 0),
            refused(),
        ),
        (
            "memory-that-is-gone",
            request(&Request::SetMemTable(vec![]), true, 0, 0),
            Outcome { rings_broken: 2, ..nothing() },
        ),
        ("owner-reset", request(&Request::ResetOwner, true, 0, 0), nothing()),
        ("mtu", request(&Request::NetSetMtu(9000), true, 0, 0), nothing()),
        ("payload-of-the-wrong-length", octets(&[2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9], 0), given_up()),
        ("payload-without-end", octets(&[2, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255], 0), ended()),
        ("another-version", octets(&[3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], 0), ended()),
        ("half-a-message-with-descriptors", octets(&header[..7], 3), nothing()),
        ("messages-back-to-back", octets(&header.repeat(20), 1), nothing()),
        ("front-end-that-goes", seed(LINUX, &[Operation::HangUp, RECEIVE]), ended()),
        (
            "nothing-but-a-socket",
            seed(BLANK, &[RECEIVE, Operation::Sleep { receives: true, writes: true }]),
            nothing(),
        ),
    ]
}

/// What is told apart: name, bytes, and what they lead to.
fn named() -> BTreeMap<&'static str, (Vec<u8>, Outcome)> {
    let refused = refused().into_iter().map(|(name, bytes, refusal)| {
        (name, bytes, Outcome { refused: vec![refusal], ..Outcome::default() })
    });
    let all = refused.chain(passed()).chain(asked());
    all.map(|(name, bytes, outcome)| (name, (bytes, outcome))).collect()
}

#[test]
fn the_corpus_does_what_its_names_say() {
    replay::does_what_its_names_say("vhost_user", named(), vhost_user);
}

#[test]
fn every_file_of_the_corpus_passes() {
    replay::every_file_passes("vhost_user", named().len(), vhost_user);
}

proptest::proptest! {
    #[test]
    fn pieces_of_the_corpus_in_any_order_pass(
        flags: u8, picks in proptest::collection::vec((0usize..100, 0usize..60, proptest::prelude::any::<u8>()), 1..20)
    ) {
        let named: Vec<Vec<u8>> = named().into_values().map(|(bytes, _)| bytes).collect();
        let mut all = vec![flags & !BLANK];
        for (pick, at, byte) in picks {
            let mut piece = named[pick % named.len()][1..].to_vec();
            if let Some(place) = piece.get_mut(at) {
                *place = byte;
            }
            all.extend(piece);
        }
        vhost_user(&all);
    }

    #[test]
    fn anything_passes(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        vhost_user(&bytes);
    }
}
