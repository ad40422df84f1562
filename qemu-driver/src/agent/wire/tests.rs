//! Round trips, and octets that are no frames.

use proptest::prelude::*;

use super::*;

fn error_kinds() -> impl Strategy<Value = ExecError> {
    ("\\PC{0,50}", 0..3).prop_map(|(reason, class)| match class {
        0 => ExecError::NoAgent(reason),
        1 => ExecError::Refused(reason),
        _ => ExecError::Lost(reason),
    })
}

fn request() -> impl Strategy<Value = ExecRequest> {
    let text = "[^\0]{0,20}";
    let variable = ("[A-Za-z_][A-Za-z0-9_]{0,8}", text);
    (
        proptest::collection::vec(text, 1..5),
        any::<bool>(),
        proptest::option::of(text),
        proptest::collection::vec(variable, 0..4),
        proptest::option::of(text),
        any::<bool>(),
    )
        .prop_map(|(argv, shell, user, env, cwd, stdin)| ExecRequest {
            argv,
            shell,
            user,
            env,
            cwd,
            stdin,
        })
}

fn body() -> impl Strategy<Value = Body> {
    let data = || proptest::collection::vec(any::<u8>(), 1..300);
    prop_oneof![
        (any::<u8>(), any::<BootId>()).prop_map(|(version, boot)| Body::Hello { version, boot }),
        (any::<u8>(), any::<BootId>()).prop_map(|(version, boot)| Body::Welcome { version, boot }),
        prop_oneof![
            Just(Body::Reset),
            Just(Body::Ping),
            Just(Body::Pong),
            Just(Body::Opened),
            Just(Body::StdinEnd),
            Just(Body::Close)
        ],
        (request(), proptest::option::of("[^\0]{0,20}"))
            .prop_map(|(request, host)| Body::Open { request, host }),
        data().prop_map(Body::Stdin),
        data().prop_map(Body::Stdout),
        data().prop_map(Body::Stderr),
        any::<u8>().prop_map(Body::Signal),
        any::<u32>().prop_map(Body::Window),
        any::<i32>().prop_map(|code| Body::Exit(ExecEnd::Exited(code))),
        any::<i32>().prop_map(|signal| Body::Exit(ExecEnd::Killed(signal))),
        error_kinds().prop_map(Body::Error),
    ]
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = (any::<u32>(), body()).prop_map(|(session, body)| Frame { session, body });
    proptest::collection::vec(frame, 0..8)
}

fn decode_all(decoder: &mut Decoder, octets: &[u8], piece: usize) -> Vec<Result<Frame, Violation>> {
    let mut found = Vec::new();
    for piece in octets.chunks(piece) {
        decoder.push(piece);
        while let Some(frame) = decoder.next() {
            found.push(frame);
        }
    }
    found
}

fn hello() -> Frame {
    Frame { session: 0, body: Body::Hello { version: VERSION, boot: [9; 16] } }
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut octets = Vec::new();
    for frame in frames {
        frame.encode(&mut octets);
    }
    octets
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in(frames in frames(), piece in 1usize..400, zeros in 0usize..50) {
        let mut octets = Vec::new();
        for frame in &frames {
            octets.extend(std::iter::repeat_n(0, zeros));
            frame.encode(&mut octets);
        }
        let found = decode_all(&mut Decoder::default(), &octets, piece);
        prop_assert_eq!(found, frames.into_iter().map(Ok).collect::<Vec<_>>());
    }

    #[test]
    fn a_greeting_is_found_behind_anything_and_a_preamble(
        garbage in proptest::collection::vec(any::<u8>(), 0..500),
        cut in frames(),
        keep in 0.0f64..1.0,
        piece in 1usize..5000,
        hunting: bool,
    ) {
        let mut octets = garbage;
        let mut half = encoded(&cut);
        half.truncate((half.len() as f64 * keep) as usize);
        octets.extend(half);
        octets.extend([0; PREAMBLE_LEN]);
        hello().encode(&mut octets);
        let mut decoder = if hunting { Decoder::hunting() } else { Decoder::default() };
        let found = decode_all(&mut decoder, &octets, piece);
        prop_assert_eq!(found.last(), Some(&Ok(hello())));
    }

    #[test]
    fn no_octets_make_it_keep_more_than_a_frame(
        octets in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xf5), Just(0x6d), Just(0x76), Just(1)], 0..800),
        piece in 1usize..600,
    ) {
        let mut decoder = Decoder::default();
        for piece in octets.chunks(piece) {
            decoder.push(piece);
            while decoder.next().is_some() {}
            prop_assert!(decoder.rest().len() <= PREAMBLE_LEN);
        }
    }
}

#[test]
fn the_layout_is_the_one_that_guests_know() {
    let frame = Frame { session: 0x0102_0304, body: Body::Exit(ExecEnd::Killed(9)) };
    assert_eq!(encoded(&[frame]), [0xf5, 0x6d, 0x76, 17, 1, 2, 3, 4, 0, 0, 0, 5, 1, 0, 0, 0, 9]);
    let request = ExecRequest { argv: vec!["a b".into()], shell: true, ..ExecRequest::default() };
    let frame = Frame { session: 2, body: Body::Open { request, host: Some("n0001".into()) } };
    assert_eq!(&encoded(&[frame])[HEADER_LEN..], b"aa b\0hn0001\0s\0");
}

#[test]
fn what_is_no_frame_is_named() {
    let violation = |octets: &[u8]| {
        let mut decoder = Decoder::default();
        decoder.push(octets);
        decoder.next().unwrap().unwrap_err()
    };
    let header = |kind, length: u32| {
        let mut octets = vec![0xf5, 0x6d, 0x76, kind, 0, 0, 0, 2];
        octets.extend(length.to_be_bytes());
        octets
    };
    assert_eq!(violation(b"l"), Violation::NoFrame);
    assert_eq!(violation(&header(14, 65_537)), Violation::TooLong);
    assert_eq!(violation(&header(99, 0)), Violation::UnknownKind);
    // Standard output without any, a command without its end, an error of no known kind.
    assert_eq!(violation(&header(14, 0)), Violation::Malformed);
    assert_eq!(violation(&[header(8, 2), b"ax".to_vec()].concat()), Violation::Malformed);
    assert_eq!(violation(&[header(18, 1), vec![7]].concat()), Violation::Malformed);
}

#[test]
fn after_a_violation_only_a_greeting_counts() {
    let mut octets = b"garbage".to_vec();
    Frame { session: 2, body: Body::Opened }.encode(&mut octets);
    hello().encode(&mut octets);
    Frame { session: 0, body: Body::Pong }.encode(&mut octets);
    let found = decode_all(&mut Decoder::default(), &octets, 7);
    let pong = Frame { session: 0, body: Body::Pong };
    assert_eq!(found, [Err(Violation::NoFrame), Ok(hello()), Ok(pong)]);
}

#[test]
fn reasons_are_cut_at_a_character() {
    let reason = "ä".repeat(1000);
    let octets = encoded(&[Frame { session: 2, body: Body::Error(ExecError::Refused(reason)) }]);
    let found = decode_all(&mut Decoder::default(), &octets, 100);
    let cut = ExecError::Refused("ä".repeat(512));
    assert_eq!(found, [Ok(Frame { session: 2, body: Body::Error(cut) })]);
}
