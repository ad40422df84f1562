//! What travels on the channel of our own agent: frames, as octets and as values. Pure; tasks and sockets are
//! the host's end's. The other end is `seed/src/agent/mvpnet-agent`.
//!
//! # Layout
//!
//! A frame is a header of twelve octets and a payload of at most 65,536; numbers are big-endian:
//!
//! | octets | what |
//! |---|---|
//! | 0–2 | `F5 6D 76`; F5 is in no UTF-8 text and no zero |
//! | 3 | kind |
//! | 4–7 | session; 0 for the channel itself |
//! | 8–11 | length of the payload |
//!
//! Zeros between frames are skipped.
//!
//! | kind | who | payload |
//! |---|---|---|
//! | 1 HELLO | guest | version (1 octet), boot id (16) |
//! | 2 WELCOME | host | version (1), the boot id that is answered (16) |
//! | 3 RESET | host | none: all sessions are lost, say HELLO again |
//! | 4 PING, 5 PONG | host, guest | none |
//! | 8 OPEN | opener | a command, see below |
//! | 9 OPENED | other | none: the command runs |
//! | 10 STDIN | opener | octets, at least one |
//! | 11 STDIN_END | opener | none |
//! | 12 SIGNAL | opener | number of a signal (1) for the command's process group |
//! | 13 CLOSE | opener | none: nobody listens any more; its output is to be thrown away |
//! | 14 STDOUT, 15 STDERR | other | octets, at least one |
//! | 16 WINDOW | both | how many more octets of frames the sender has room for (4) |
//! | 17 EXIT | other | 0 by itself or 1 by a signal (1), code or signal (4) |
//! | 18 ERROR | other | 0 no agent, 1 refused, 2 lost (1), why, UTF-8, at most 1024 octets |
//!
//! A command is fields one after the other, each a letter, text and a zero octet: `a` a word (in order), `s` to be
//! joined and read by a shell, `u` user, `e` NAME=VALUE, `d` directory, `i` standard input will come, `h` the host that is
//! meant (from guests only).
//!
//! # Course
//!
//! The guest's agent begins, each time it opens its end, with [`PREAMBLE_LEN`] zeros, which end a frame that a former
//! life of the guest left half sent, and HELLO with a random id, repeated until WELCOME brings that id back. What
//! comes before is of a former life and is thrown away. The host writes nothing before it was greeted, so that nothing
//! piles up where nobody reads. A HELLO with another id ends all sessions; so does, on either side, whatever is not as
//! said here: the host then sends RESET, the guest a new HELLO.
//!
//! Both sides open sessions: the host with even numbers, the guest with odd ones, each number once. EXIT or ERROR is a session's last
//! frame. What arrives for a session that has ended is ignored. Each direction of a session has a window of
//! [`WINDOW`] octets, which STDIN, STDOUT and STDERR use up with their headers; WINDOW gives back what the receiver
//! has passed on.

use super::{ExecEnd, ExecError, ExecRequest};

pub use decoder::Decoder;

mod decoder;
#[cfg(test)]
mod tests;

/// The version of the protocol.
pub const VERSION: u8 = 1;
/// The first octets of a frame.
pub const MAGIC: [u8; 3] = [0xf5, 0x6d, 0x76];
/// How long a frame's header is.
pub const HEADER_LEN: usize = 12;
/// The longest payload.
pub const MAX_PAYLOAD: usize = 65_536;
/// The longest payload of STDIN, STDOUT and STDERR that is sent; longer ones are understood.
pub const CHUNK: usize = 16_384;
/// How many octets of frames with data a session may have on their way in each direction.
pub const WINDOW: u32 = 65_536;
/// How many zeros go before a HELLO.
pub const PREAMBLE_LEN: usize = HEADER_LEN + MAX_PAYLOAD;
/// The longest reason of an ERROR.
const MAX_REASON: usize = 1024;

/// The id that an agent's life in a guest has.
pub type BootId = [u8; 16];

/// A frame: the session that it belongs to, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The session; 0 for the channel.
    pub session: u32,
    /// What it says.
    pub body: Body,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The guest's agent greets.
    Hello {
        /// Its version.
        version: u8,
        /// Its life.
        boot: BootId,
    },
    /// The host answers.
    Welcome {
        /// Its version.
        version: u8,
        /// The life that it answers.
        boot: BootId,
    },
    /// Everything begins anew.
    Reset,
    /// Is anybody there?
    Ping,
    /// Yes.
    Pong,
    /// A command; the host is named if a guest asks.
    Open {
        /// What to run.
        request: ExecRequest,
        /// Where, as typed.
        host: Option<String>,
    },
    /// It runs.
    Opened,
    /// Standard input.
    Stdin(Vec<u8>),
    /// Its end.
    StdinEnd,
    /// A signal.
    Signal(u8),
    /// Nobody listens any more.
    Close,
    /// Standard output.
    Stdout(Vec<u8>),
    /// Standard error.
    Stderr(Vec<u8>),
    /// Room for so much more.
    Window(u32),
    /// How it ended.
    Exit(ExecEnd),
    /// It did not run, or nothing is known of its end.
    Error(ExecError),
}

/// Why octets are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Violation {
    /// Something else where a frame should begin.
    #[error("octets that begin no frame")]
    NoFrame,
    /// The length is beyond the bound.
    #[error("a frame of more than {MAX_PAYLOAD} octets")]
    TooLong,
    /// No such kind.
    #[error("a frame of unknown kind")]
    UnknownKind,
    /// The payload is not what the kind says.
    #[error("a frame whose payload is malformed")]
    Malformed,
    /// A frame that its sender must not send, or not now.
    #[error("a frame that is out of place")]
    OutOfPlace,
    /// More data than there is room for, or room than there can be.
    #[error("more data than the window allows")]
    Window,
    /// More was asked for at once than is answered.
    #[error("more questions than answers are read")]
    Flood,
}

mod kind {
    pub const HELLO: u8 = 1;
    pub const WELCOME: u8 = 2;
    pub const RESET: u8 = 3;
    pub const PING: u8 = 4;
    pub const PONG: u8 = 5;
    pub const OPEN: u8 = 8;
    pub const OPENED: u8 = 9;
    pub const STDIN: u8 = 10;
    pub const STDIN_END: u8 = 11;
    pub const SIGNAL: u8 = 12;
    pub const CLOSE: u8 = 13;
    pub const STDOUT: u8 = 14;
    pub const STDERR: u8 = 15;
    pub const WINDOW: u8 = 16;
    pub const EXIT: u8 = 17;
    pub const ERROR: u8 = 18;
}

impl Frame {
    /// The frame as octets, after those of `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.push(self.body.kind());
        out.extend_from_slice(&self.session.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        self.body.encode(out);
        let length = u32::try_from(out.len() - start - HEADER_LEN).expect("payloads are short");
        out[start + 8..start + HEADER_LEN].copy_from_slice(&length.to_be_bytes());
    }
}

impl Body {
    /// What it uses of a session's window.
    pub fn cost(&self) -> u32 {
        match self {
            Body::Stdin(data) | Body::Stdout(data) | Body::Stderr(data) => cost_of(data.len()),
            _ => 0,
        }
    }

    /// How long its payload is.
    pub fn payload_len(&self) -> usize {
        let mut payload = Vec::new();
        self.encode(&mut payload);
        payload.len()
    }

    fn kind(&self) -> u8 {
        match self {
            Body::Hello { .. } => kind::HELLO,
            Body::Welcome { .. } => kind::WELCOME,
            Body::Reset => kind::RESET,
            Body::Ping => kind::PING,
            Body::Pong => kind::PONG,
            Body::Open { .. } => kind::OPEN,
            Body::Opened => kind::OPENED,
            Body::Stdin(_) => kind::STDIN,
            Body::StdinEnd => kind::STDIN_END,
            Body::Signal(_) => kind::SIGNAL,
            Body::Close => kind::CLOSE,
            Body::Stdout(_) => kind::STDOUT,
            Body::Stderr(_) => kind::STDERR,
            Body::Window(_) => kind::WINDOW,
            Body::Exit(_) => kind::EXIT,
            Body::Error(_) => kind::ERROR,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Body::Hello { version, boot } | Body::Welcome { version, boot } => {
                out.push(*version);
                out.extend_from_slice(boot);
            }
            Body::Open { request, host } => encode_request(request, host.as_deref(), out),
            Body::Stdin(data) | Body::Stdout(data) | Body::Stderr(data) => out.extend_from_slice(data),
            Body::Signal(number) => out.push(*number),
            Body::Window(more) => out.extend_from_slice(&more.to_be_bytes()),
            Body::Exit(end) => {
                let (how, number) = match end {
                    ExecEnd::Exited(code) => (0, code),
                    ExecEnd::Killed(signal) => (1, signal),
                };
                out.push(how);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Body::Error(error) => {
                let (class, reason) = match error {
                    ExecError::NoAgent(reason) => (0, reason),
                    ExecError::Refused(reason) => (1, reason),
                    ExecError::Lost(reason) => (2, reason),
                };
                out.push(class);
                out.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)]);
            }
            Body::Reset | Body::Ping | Body::Pong | Body::Opened | Body::StdinEnd | Body::Close => {}
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Body, Violation> {
        let data = || if payload.is_empty() { Err(Violation::Malformed) } else { Ok(payload.to_vec()) };
        let nothing = |body| if payload.is_empty() { Ok(body) } else { Err(Violation::Malformed) };
        match kind {
            kind::HELLO => greeting(payload).map(|(version, boot)| Body::Hello { version, boot }),
            kind::WELCOME => greeting(payload).map(|(version, boot)| Body::Welcome { version, boot }),
            kind::RESET => nothing(Body::Reset),
            kind::PING => nothing(Body::Ping),
            kind::PONG => nothing(Body::Pong),
            kind::OPEN => decode_request(payload),
            kind::OPENED => nothing(Body::Opened),
            kind::STDIN => data().map(Body::Stdin),
            kind::STDIN_END => nothing(Body::StdinEnd),
            kind::SIGNAL => match payload {
                [number] => Ok(Body::Signal(*number)),
                _ => Err(Violation::Malformed),
            },
            kind::CLOSE => nothing(Body::Close),
            kind::STDOUT => data().map(Body::Stdout),
            kind::STDERR => data().map(Body::Stderr),
            kind::WINDOW => {
                let more = payload.try_into().map_err(|_| Violation::Malformed)?;
                Ok(Body::Window(u32::from_be_bytes(more)))
            }
            kind::EXIT => exit(payload).map(Body::Exit),
            kind::ERROR => error(payload).map(Body::Error),
            _ => Err(Violation::UnknownKind),
        }
    }
}

/// What a frame with so much data uses of a window.
pub fn cost_of(data_len: usize) -> u32 {
    u32::try_from(HEADER_LEN + data_len).unwrap_or(u32::MAX)
}

fn greeting(payload: &[u8]) -> Result<(u8, BootId), Violation> {
    // A later version may say more.
    let (version, rest) = payload.split_first().ok_or(Violation::Malformed)?;
    let boot = rest.first_chunk().ok_or(Violation::Malformed)?;
    Ok((*version, *boot))
}

fn exit(payload: &[u8]) -> Result<ExecEnd, Violation> {
    let (how, number) = payload.split_first().ok_or(Violation::Malformed)?;
    let number = i32::from_be_bytes(number.try_into().map_err(|_| Violation::Malformed)?);
    match how {
        0 => Ok(ExecEnd::Exited(number)),
        1 => Ok(ExecEnd::Killed(number)),
        _ => Err(Violation::Malformed),
    }
}

fn error(payload: &[u8]) -> Result<ExecError, Violation> {
    let (class, reason) = payload.split_first().ok_or(Violation::Malformed)?;
    if reason.len() > MAX_REASON {
        return Err(Violation::Malformed);
    }
    let reason = String::from_utf8_lossy(reason).into_owned();
    match class {
        0 => Ok(ExecError::NoAgent(reason)),
        1 => Ok(ExecError::Refused(reason)),
        2 => Ok(ExecError::Lost(reason)),
        _ => Err(Violation::Malformed),
    }
}

fn encode_request(request: &ExecRequest, host: Option<&str>, out: &mut Vec<u8>) {
    let ExecRequest { argv, shell, user, env, cwd, stdin } = request;
    let mut field = |letter: u8, parts: &[&str]| {
        out.push(letter);
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.push(0);
    };
    for word in argv {
        field(b'a', &[word]);
    }
    for (name, value) in env {
        field(b'e', &[name, "=", value]);
    }
    for (letter, text) in [(b'u', user.as_deref()), (b'd', cwd.as_deref()), (b'h', host)] {
        if let Some(text) = text {
            field(letter, &[text]);
        }
    }
    for (letter, said) in [(b's', *shell), (b'i', *stdin)] {
        if said {
            field(letter, &[]);
        }
    }
}

fn decode_request(payload: &[u8]) -> Result<Body, Violation> {
    let mut request = ExecRequest::default();
    let mut host = None;
    let fields = payload.strip_suffix(&[0]).ok_or(Violation::Malformed)?;
    for field in fields.split(|&octet| octet == 0) {
        let (letter, text) = field.split_first().ok_or(Violation::Malformed)?;
        let text = std::str::from_utf8(text).map_err(|_| Violation::Malformed)?;
        match letter {
            b'a' => request.argv.push(text.to_owned()),
            b'e' => {
                let (name, value) = text.split_once('=').ok_or(Violation::Malformed)?;
                request.env.push((name.to_owned(), value.to_owned()));
            }
            b'u' => request.user = Some(text.to_owned()),
            b'd' => request.cwd = Some(text.to_owned()),
            b'h' => host = Some(text.to_owned()),
            b's' => request.shell = true,
            b'i' => request.stdin = true,
            _ => return Err(Violation::Malformed),
        }
    }
    Ok(Body::Open { request, host })
}
