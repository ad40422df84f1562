//! Round trips, and messages that cannot be read.

use proptest::option;
use proptest::prelude::*;

use super::option as option_code;
use super::*;

const MAC: MacAddr = MacAddr::new([0x52, 0x55, 0, 0, 0, 1]);

fn emitted(repr: &Repr<'_>) -> Vec<u8> {
    let mut bytes = vec![0xaa; repr.buffer_len()];
    repr.emit(&mut bytes);
    bytes
}

fn parsed(bytes: &[u8]) -> Result<Repr<'_>, Malformed> {
    Repr::parse(&View::new_checked(bytes)?)
}

fn discover() -> Vec<u8> {
    emitted(&Repr::new(Op::Request, MessageType::DISCOVER, 7, MAC))
}

#[test]
fn short_messages_are_padded_to_what_bootp_takes() {
    assert_eq!(discover().len(), 300);
}

#[test]
fn a_message_without_its_end_option_is_understood() {
    let mut bytes = discover();
    bytes.truncate(243);
    assert_eq!(parsed(&bytes).map(|repr| repr.message_type), Ok(Some(MessageType::DISCOVER)));
}

#[test]
fn a_truncated_option_is_malformed() {
    let mut bytes = discover();
    bytes.truncate(242);
    assert_eq!(parsed(&bytes), Err(Malformed));
}

#[test]
fn an_address_option_of_the_wrong_length_is_malformed() {
    let mut bytes = discover();
    bytes[243..248].copy_from_slice(&[option_code::REQUESTED_ADDRESS, 3, 10, 0, 0]);
    assert_eq!(parsed(&bytes), Err(Malformed));
}

#[test]
fn a_message_needs_the_cookie_and_ethernet() {
    for place in [field::COOKIE.start, field::HARDWARE_TYPE, field::HARDWARE_LEN, field::OP] {
        let mut bytes = discover();
        bytes[place] = 77;
        assert_eq!(parsed(&bytes), Err(Malformed), "byte {place}");
    }
}

#[test]
fn padding_between_options_is_skipped() {
    let mut bytes = discover();
    bytes[240..248].copy_from_slice(&[0, 0, option_code::MESSAGE_TYPE, 1, 3, 0, option_code::END, 9]);
    assert_eq!(parsed(&bytes).map(|repr| repr.message_type), Ok(Some(MessageType::REQUEST)));
}

prop_compose! {
    fn options()(
        addresses in prop::array::uniform4(option::of(any::<Ipv4Addr>())),
        lease_seconds in option::of(any::<u32>()),
        mtu in option::of(any::<u16>()),
        message_type in option::of(any::<u8>().prop_map(MessageType)),
        texts in prop::array::uniform2(option::of(prop::collection::vec(any::<u8>(), 0..=255))),
    ) -> (Repr<'static>, [Option<Vec<u8>>; 2]) {
        let [requested_address, server, netmask, broadcast_address] = addresses;
        let repr = Repr {
            message_type, requested_address, server, netmask, broadcast_address, lease_seconds, mtu,
            ..Repr::new(Op::Request, MessageType(0), 0, MAC)
        };
        (repr, texts)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        (options, texts) in options(),
        reply in any::<bool>(),
        broadcast in any::<bool>(),
        transaction in any::<u32>(),
        mac in any::<[u8; 6]>(),
        client_address in any::<Ipv4Addr>(),
        your_address in any::<Ipv4Addr>(),
    ) {
        let repr = Repr {
            op: if reply { Op::Reply } else { Op::Request },
            broadcast,
            transaction,
            hardware_address: MacAddr::new(mac),
            client_address,
            your_address,
            host_name: texts[0].as_deref(),
            client_id: texts[1].as_deref(),
            ..options
        };
        let bytes = emitted(&repr);
        prop_assert_eq!(parsed(&bytes), Ok(repr));
    }

    #[test]
    fn any_bytes_are_read_or_malformed(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        with_cookie in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if with_cookie && bytes.len() >= field::OPTIONS {
            bytes[..3].copy_from_slice(&[1, 1, 6]);
            bytes[field::COOKIE].copy_from_slice(&COOKIE);
        }
        let _ = parsed(&bytes);
    }
}
