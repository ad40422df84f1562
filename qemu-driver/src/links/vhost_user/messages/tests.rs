//! The codec: what is written is read, and anything is read without harm.

use proptest::prelude::*;

use super::*;

fn ring_fd() -> impl Strategy<Value = RingFd> {
    any::<(u8, bool)>().prop_map(|(ring, has_fd)| RingFd { ring, has_fd })
}

fn region() -> impl Strategy<Value = RegionEntry> {
    any::<[u64; 4]>().prop_map(|[guest_address, len, front_address, file_offset]| RegionEntry {
        guest_address,
        len,
        front_address,
        file_offset,
    })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Features),
        any::<u64>().prop_map(Request::SetFeatures),
        Just(Request::SetOwner),
        Just(Request::ResetOwner),
        prop::collection::vec(region(), 0..=MAX_REGIONS).prop_map(Request::SetMemTable),
        any::<(u32, u32)>().prop_map(|(ring, size)| Request::SetVringNum { ring, size }),
        any::<(u32, [u64; 3])>().prop_map(|(ring, [descriptors, used, available])| {
            Request::SetVringAddr { ring, addresses: RingAddresses { descriptors, used, available } }
        }),
        any::<(u32, u32)>().prop_map(|(ring, base)| Request::SetVringBase { ring, base }),
        any::<u32>().prop_map(|ring| Request::VringBase { ring }),
        ring_fd().prop_map(Request::SetVringKick),
        ring_fd().prop_map(Request::SetVringCall),
        ring_fd().prop_map(Request::SetVringErr),
        Just(Request::ProtocolFeatures),
        any::<u64>().prop_map(Request::SetProtocolFeatures),
        Just(Request::QueueNum),
        any::<(u32, u32)>().prop_map(|(ring, enable)| Request::SetVringEnable { ring, enable }),
        any::<u64>().prop_map(Request::NetSetMtu),
        (100u32..).prop_map(Request::Unknown),
    ]
}

proptest! {
    #[test]
    fn a_request_that_is_written_is_read(request in request()) {
        prop_assert_eq!(Request::read(request.code(), &request.payload()), Ok(request));
    }

    #[test]
    fn a_payload_that_is_cut_is_refused(request in request(), cut in 1usize..64) {
        let payload = request.payload();
        prop_assume!(!payload.is_empty());
        let cut = &payload[..payload.len() - cut.min(payload.len())];
        prop_assert_eq!(
            Request::read(request.code(), cut),
            Err(MessageError::PayloadLen { request: request.code(), len: cut.len() })
        );
    }

    #[test]
    fn anything_is_read_without_harm(code in 0u32..45, payload: Vec<u8>) {
        if let Ok(request) = Request::read(code, &payload) {
            prop_assert_eq!(request.code(), code);
            prop_assert!(request.fds() <= MAX_REGIONS);
        }
    }

    #[test]
    fn a_header_that_is_written_is_read(
        request: u32, is_reply: bool, needs_reply: bool, payload_len in 0u32..=4096
    ) {
        let header = Header { request, is_reply, needs_reply, payload_len };
        prop_assert_eq!(Header::read(&header.write()), Ok(header));
    }
}

#[test]
fn the_bytes_are_where_the_document_has_them() {
    // vhost-user.rst, "Header": SET_VRING_ENABLE of ring 1, with a reply asked for.
    let bytes = [18, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0];
    let header = Header { request: 18, is_reply: false, needs_reply: true, payload_len: 8 };
    if cfg!(target_endian = "little") {
        assert_eq!(Header::read(&bytes), Ok(header));
    }
    let payload = [1u32.to_ne_bytes(), 1u32.to_ne_bytes()].concat();
    assert_eq!(Request::read(18, &payload), Ok(Request::SetVringEnable { ring: 1, enable: 1 }));
}

#[test]
fn other_versions_and_endless_payloads_are_refused() {
    let header = |flags: u32, len: u32| {
        let numbers = [1, flags, len].map(u32::to_ne_bytes).concat();
        Header::read(&numbers.try_into().unwrap())
    };
    assert_eq!(header(0, 0), Err(MessageError::Flags(0)));
    assert_eq!(header(2, 0), Err(MessageError::Flags(2)));
    assert_eq!(header(1, 4097), Err(MessageError::TooLong(4097)));
    assert!(header(1, 4096).is_ok());
}

#[test]
fn a_table_may_have_unused_entries_but_not_more_than_eight() {
    let mut payload = Request::SetMemTable(vec![RegionEntry::default(); 8]).payload();
    payload[..4].copy_from_slice(&3u32.to_ne_bytes());
    assert_eq!(Request::read(5, &payload), Ok(Request::SetMemTable(vec![RegionEntry::default(); 3])));
    payload[..4].copy_from_slice(&9u32.to_ne_bytes());
    assert_eq!(Request::read(5, &payload), Err(MessageError::Regions(9)));
}
