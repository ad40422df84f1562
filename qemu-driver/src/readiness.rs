//! When a guest counts as booted: its sshd shows a banner, a text shows on its console, or at once.
//!
//! qemu's user network accepts a forwarded connection by itself, whether or not anything listens in the
//! guest, and tries to reach the guest on its behalf: at once, after six seconds, and then ever less often. One long
//! attempt so learns of an sshd that came up late only much later; many short ones fill a slow guest with sshd
//! processes. Hence attempts one after the other, each on a new connection, that are the longer the longer the guest
//! has taken: a guest that boots in seconds is seen within one, a slow one gets seconds to answer.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::accel::Accel;
use crate::console::Console;

/// What makes a guest count as booted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReadyWhen {
    /// Its sshd shows a banner on the forwarded port.
    #[default]
    Ssh,
    /// The text has shown on its console.
    Console(String),
    /// It has been started.
    Started,
}

/// A word that is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of ssh, console:TEXT and none")]
pub struct ReadyWhenError {
    given: String,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyTimes {
    /// From the start of the guest to its being ready.
    pub overall: Duration,
    /// Silence after which a connection to sshd is given up, at most.
    pub banner: Duration,
    /// Between a failed attempt and the next, at most.
    pub pause: Duration,
}

/// The banner or text that was waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// How long it took.
    pub elapsed: Duration,
    /// The banner, `SSH-2.0-OpenSSH_9.2` for instance.
    pub banner: Option<String>,
}

/// Why a guest does not count as booted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// sshd showed no banner.
    #[error("no ssh banner on {address} after {} s: {last}", elapsed.as_secs())]
    NoBanner {
        /// Where it was looked for.
        address: SocketAddr,
        /// How long.
        elapsed: Duration,
        /// What the last attempt met.
        last: ProbeFailure,
    },
    /// The text did not show.
    #[error("`{text}` did not show on the console within {} s", elapsed.as_secs())]
    NoText {
        /// The text.
        text: String,
        /// How long it was waited for.
        elapsed: Duration,
    },
    /// The console closed, because the guest ended.
    #[error("the console closed after {} s without showing `{text}`", elapsed.as_secs())]
    ConsoleClosed {
        /// The text.
        text: String,
        /// When it closed.
        elapsed: Duration,
    },
}

/// What one attempt to see a banner met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// No connection: qemu does not listen.
    #[error("cannot connect ({0})")]
    Connect(String),
    /// A connection and nothing on it: the guest does not answer yet.
    #[error("the connection is accepted but the guest is silent")]
    Silent,
    /// The connection was closed: the guest is up and its sshd is not.
    #[error("the guest closes the connection")]
    Closed,
    /// Something else answers.
    #[error("what answers is not an ssh server: `{0}`")]
    NotSsh(String),
}

/// What an attempt may take from the first on, and what lies between two.
const SHORTEST: Duration = Duration::from_millis(500);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// How much is read in search of the banner. RFC 4253 §4.2 allows other lines before it.
const MAX_PREAMBLE: usize = 8 << 10;
/// The longest banner, its line end included (RFC 4253 §4.2).
const MAX_BANNER: usize = 255;

impl ReadyTimes {
    /// 90 seconds (`-T`), five times that under software emulation, where boots take that much longer.
    pub fn default_for(accel: Accel) -> ReadyTimes {
        ReadyTimes::with_overall(Duration::from_secs(90) * accel.patience())
    }

    /// A time of the user's own.
    pub fn with_overall(overall: Duration) -> ReadyTimes {
        ReadyTimes { overall, banner: Duration::from_secs(8), pause: Duration::from_secs(1) }
    }
}

impl FromStr for ReadyWhen {
    type Err = ReadyWhenError;

    fn from_str(text: &str) -> Result<ReadyWhen, ReadyWhenError> {
        match text.split_once(':') {
            Some(("console", text)) if !text.is_empty() => Ok(ReadyWhen::Console(text.to_owned())),
            None if text == "ssh" => Ok(ReadyWhen::Ssh),
            None if text == "none" => Ok(ReadyWhen::Started),
            _ => Err(ReadyWhenError { given: text.to_owned() }),
        }
    }
}

/// Waits until the guest is ready or the time is over. Callers watch for the guest's end besides.
pub async fn wait_ready(
    when: &ReadyWhen,
    ssh: SocketAddr,
    console: &Console,
    times: ReadyTimes,
) -> Result<Ready, NotReady> {
    let started = Instant::now();
    match when {
        ReadyWhen::Started => Ok(Ready { elapsed: Duration::ZERO, banner: None }),
        ReadyWhen::Ssh => wait_banner(ssh, times, started).await,
        ReadyWhen::Console(text) => {
            let shown = timeout(times.overall, console.wait_for(text)).await;
            let elapsed = started.elapsed();
            match shown {
                Ok(true) => Ok(Ready { elapsed, banner: None }),
                Ok(false) => Err(NotReady::ConsoleClosed { text: text.clone(), elapsed }),
                Err(_) => Err(NotReady::NoText { text: text.clone(), elapsed }),
            }
        }
    }
}

async fn wait_banner(address: SocketAddr, times: ReadyTimes, started: Instant) -> Result<Ready, NotReady> {
    let mut last = ProbeFailure::Silent;
    let attempts = async {
        for attempt in 1_u32.. {
            // Now and then a longer one, for a guest so slow that its sshd needs that to say anything.
            let most = if attempt % 4 == 0 { times.banner * 3 } else { times.banner };
            let patience = (started.elapsed() / 4).max(SHORTEST).min(most);
            match probe(address, patience).await {
                Ok(banner) => return Some(banner),
                Err(failure) => {
                    tracing::trace!(%address, "no banner: {failure}");
                    last = failure;
                }
            }
            sleep((started.elapsed() / 16).max(SHORTEST_PAUSE).min(times.pause)).await;
        }
        None
    };
    match timeout(times.overall, attempts).await {
        Ok(Some(banner)) => Ok(Ready { elapsed: started.elapsed(), banner: Some(banner) }),
        Ok(None) | Err(_) => Err(NotReady::NoBanner { address, elapsed: started.elapsed(), last }),
    }
}

/// One attempt on a connection of its own.
async fn probe(address: SocketAddr, patience: Duration) -> Result<String, ProbeFailure> {
    let attempt = async {
        let connection =
            TcpStream::connect(address).await.map_err(|error| ProbeFailure::Connect(error.to_string()))?;
        read_banner(connection).await
    };
    timeout(patience, attempt).await.unwrap_or(Err(ProbeFailure::Silent))
}

async fn read_banner(connection: impl AsyncRead + Unpin) -> Result<String, ProbeFailure> {
    let mut connection = connection.take(MAX_PREAMBLE as u64);
    let mut seen = Vec::new();
    loop {
        let ended = !matches!(connection.read_buf(&mut seen).await, Ok(1..));
        let mut lines = seen.split_inclusive(|&byte| byte == b'\n');
        if let Some(line) = lines.find(|line| line.starts_with(b"SSH-")) {
            if line.ends_with(b"\n") || line.len() >= MAX_BANNER || ended {
                let line = &line[..line.len().min(MAX_BANNER)];
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
        } else if ended {
            let shown: String =
                String::from_utf8_lossy(&seen).chars().filter(|c| !c.is_control()).take(60).collect();
            return Err(if shown.is_empty() { ProbeFailure::Closed } else { ProbeFailure::NotSsh(shown) });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const QUICK: ReadyTimes = ReadyTimes {
        overall: Duration::from_secs(20),
        banner: Duration::from_millis(200),
        pause: Duration::from_millis(10),
    };
    const BRIEF: ReadyTimes = ReadyTimes { overall: Duration::from_millis(300), ..QUICK };

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn wait(address: SocketAddr, times: ReadyTimes) -> Result<Ready, NotReady> {
        let (_guest, output) = tokio::io::duplex(1);
        wait_ready(&ReadyWhen::Ssh, address, &Console::read(output), times).await
    }

    fn last(result: Result<Ready, NotReady>) -> ProbeFailure {
        match result.unwrap_err() {
            NotReady::NoBanner { last, .. } => last,
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_banner_makes_the_guest_ready() {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.write_all(b"Welcome.\r\nSSH-2.0-").await.unwrap();
            connection.write_all(b"dropbear_2022.83\r\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        let ready = wait(address, QUICK).await.unwrap();
        assert_eq!(ready.banner.as_deref(), Some("SSH-2.0-dropbear_2022.83"));
    }

    #[tokio::test]
    async fn connections_that_stay_silent_are_given_up_for_new_ones() {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let mut silent = Vec::new();
            for _ in 0..3 {
                silent.push(listener.accept().await.unwrap());
            }
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        let ready = wait(address, QUICK).await.unwrap();
        assert!(ready.elapsed >= 3 * QUICK.banner, "{ready:?}");
    }

    #[tokio::test]
    async fn a_guest_that_has_just_started_is_asked_often() {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let _silent = [listener.accept().await, listener.accept().await];
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        let times = ReadyTimes::with_overall(Duration::from_secs(60));
        let ready = wait(address, times).await.unwrap();
        assert!(ready.elapsed < times.banner, "{ready:?}");
    }

    #[tokio::test]
    async fn a_guest_that_never_answers_is_said_to_be_silent() {
        let (_listener, address) = listener().await;
        let error = wait(address, BRIEF).await.unwrap_err();
        assert!(error.to_string().contains("no ssh banner on 127.0.0.1:"), "{error}");
        assert!(error.to_string().ends_with("the guest is silent"), "{error}");
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_said_to_refuse() {
        let (listener, address) = listener().await;
        drop(listener);
        assert!(matches!(last(wait(address, BRIEF).await), ProbeFailure::Connect(_)));
    }

    #[tokio::test]
    async fn resets_and_closes_are_told_from_silence() {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                // A reset instead of an orderly close (SO_LINGER of zero, socket(7)).
                nix::sys::socket::setsockopt(
                    &connection,
                    nix::sys::socket::sockopt::Linger,
                    &nix::libc::linger { l_onoff: 1, l_linger: 0 },
                )
                .unwrap();
            }
        });
        assert_eq!(last(wait(address, BRIEF).await), ProbeFailure::Closed);
    }

    #[tokio::test]
    async fn something_else_on_the_port_is_named() {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = connection.write_all(b"HTTP/1.1 400 \x07Bad Request\r\n").await;
            }
        });
        assert_eq!(last(wait(address, BRIEF).await), ProbeFailure::NotSsh("HTTP/1.1 400 Bad Request".into()));
    }

    #[tokio::test]
    async fn endless_garbage_ends() {
        let garbage = tokio::io::repeat(b'x');
        assert!(matches!(read_banner(garbage).await, Err(ProbeFailure::NotSsh(text)) if text.len() == 60));
        let endless = tokio::io::AsyncReadExt::chain(&b"SSH-2.0-"[..], tokio::io::repeat(b'y'));
        assert_eq!(read_banner(endless).await.unwrap().len(), MAX_BANNER);
    }

    #[tokio::test]
    async fn a_text_on_the_console_makes_the_guest_ready() {
        let (mut guest, output) = tokio::io::duplex(64);
        let console = Console::read(output);
        let address = "127.0.0.1:1".parse().unwrap();
        let when: ReadyWhen = "console:login:".parse().unwrap();
        let wait = || wait_ready(&when, address, &console, BRIEF);
        assert!(matches!(wait().await, Err(NotReady::NoText { .. })));
        guest.write_all(b"n0000 login: ").await.unwrap();
        wait().await.unwrap();
    }

    #[tokio::test]
    async fn a_console_that_closes_is_not_waited_for() {
        let (guest, output) = tokio::io::duplex(64);
        let console = Console::read(output);
        drop(guest);
        let when = ReadyWhen::Console("login:".into());
        let result = wait_ready(&when, "127.0.0.1:1".parse().unwrap(), &console, QUICK).await;
        assert!(matches!(result, Err(NotReady::ConsoleClosed { .. })), "{result:?}");
    }

    #[test]
    fn conditions_are_parsed() {
        assert_eq!("ssh".parse(), Ok(ReadyWhen::Ssh));
        assert_eq!("none".parse(), Ok(ReadyWhen::Started));
        assert_eq!("console:a:b".parse(), Ok(ReadyWhen::Console("a:b".into())));
        for wrong in ["", "console", "console:", "ssh:", "SSH"] {
            assert!(wrong.parse::<ReadyWhen>().is_err(), "{wrong}");
        }
    }
}
