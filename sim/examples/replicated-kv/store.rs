//! A replicated key-value store: the program under test. It knows nothing of any simulation.
//!
//! Each replica keeps the newest version of each key that it has heard of. A client asks all replicas and goes on
//! when a quorum has answered: to write, it finds out the newest version and stores a newer one; to read, it finds out the
//! newest value and stores it once more, so that no later read finds an older one. That is the register of Attiya,
//! Bar-Noy and Dolev (1995): whatever a majority has stored, every later majority knows.
//!
//! Requests and answers are lines of words: `get KEY`, answered by `COUNTER WRITER VALUE`, and
//! `put KEY COUNTER WRITER VALUE`, answered by `ok`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::str::FromStr;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

/// How long a client waits for one replica.
const PATIENCE: Duration = Duration::from_millis(300);

/// What the store needs of the world: in production tokio's sockets and clock, in a test simulated ones.
pub trait Network {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin;

    /// Connects to a replica.
    async fn connect(&self, replica: u32) -> io::Result<Self::Stream>;

    /// Waits for something, but not for longer than this.
    async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T>;
}

/// A value and how new it is. Versions are ordered by the counter, then by who wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Versioned {
    counter: u64,
    writer: u32,
    value: String,
}

// ---- the replica

/// What a replica has stored. It is on a disk: it survives the replica's crash.
#[derive(Clone, Debug, Default)]
pub struct Disk(Rc<RefCell<BTreeMap<String, Versioned>>>);

/// Answers a client until it hangs up.
pub async fn serve(disk: Disk, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let answer = disk.answer(line.trim_end());
        stream.write_all(format!("{answer}\n").as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

impl Disk {
    fn answer(&self, request: &str) -> String {
        let mut stored = self.0.borrow_mut();
        match request.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["get", key] => stored.get(key).cloned().unwrap_or_default().to_string(),
            ["put", key, new] => match new.parse::<Versioned>() {
                Ok(new) => {
                    let old = stored.entry(key.to_owned()).or_default();
                    if new > *old {
                        *old = new;
                    }
                    "ok".to_owned()
                }
                Err(_) => "what?".to_owned(),
            },
            _ => "what?".to_owned(),
        }
    }
}

// ---- the client

/// When enough replicas have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// More than half of all: any two quorums share a replica.
    Majority,
    /// THE PLANTED BUG: more than half of those that can be reached. It looks like a clever way to live with crashed
    /// replicas, and passes every test in which one of three fails. But a client that a partition cuts off from most
    /// replicas takes them for crashed, and goes on with the rest, while the others go on without it.
    MajorityOfReachable,
}

impl Quorum {
    fn is_reached(self, answered: usize, failed: usize, replicas: usize) -> bool {
        match self {
            Quorum::Majority => 2 * answered > replicas,
            Quorum::MajorityOfReachable => 2 * answered > replicas - failed,
        }
    }
}

/// Too few replicas answer. A write may yet take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoQuorum;

/// Reads and writes. Each client has a number of its own.
#[derive(Debug)]
pub struct Client<N> {
    network: N,
    number: u32,
    replicas: u32,
    quorum: Quorum,
    /// The last counter that was used: a write that has failed may have reached somebody.
    counter: Cell<u64>,
}

impl<N: Network> Client<N> {
    /// A client of the replicas from 0 on.
    pub fn new(network: N, number: u32, replicas: u32, quorum: Quorum) -> Client<N> {
        Client { network, number, replicas, quorum, counter: Cell::new(0) }
    }

    /// Stores a value, which is one word. When this returns, every later read finds it, or a newer one.
    pub async fn put(&self, key: &str, value: &str) -> Result<(), NoQuorum> {
        let newest = self.newest(key).await?;
        let counter = newest.counter.max(self.counter.get()) + 1;
        self.counter.set(counter);
        self.store(key, &Versioned { counter, writer: self.number, value: value.to_owned() }).await
    }

    /// The newest value; empty if there is none.
    pub async fn get(&self, key: &str) -> Result<String, NoQuorum> {
        let newest = self.newest(key).await?;
        self.store(key, &newest).await?;
        Ok(newest.value)
    }

    async fn newest(&self, key: &str) -> Result<Versioned, NoQuorum> {
        let answers = self.ask_all(&format!("get {key}")).await?;
        Ok(answers.iter().filter_map(|answer| answer.parse().ok()).max().unwrap_or_default())
    }

    async fn store(&self, key: &str, new: &Versioned) -> Result<(), NoQuorum> {
        self.ask_all(&format!("put {key} {new}")).await.map(drop)
    }

    /// Asks all replicas at once, until a quorum has answered.
    async fn ask_all(&self, request: &str) -> Result<Vec<String>, NoQuorum> {
        let mut asked: Vec<Pin<Box<dyn Future<Output = Option<String>>>>> = Vec::new();
        for replica in 0..self.replicas {
            asked.push(Box::pin(self.ask(replica, request)));
        }
        let (replicas, mut answers, mut failed) = (asked.len(), Vec::new(), 0);
        poll_fn(|context| {
            asked.retain_mut(|ask| match ask.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(answer) => {
                    failed += usize::from(answer.is_none());
                    answers.extend(answer);
                    false
                }
            });
            if self.quorum.is_reached(answers.len(), failed, replicas) {
                return Poll::Ready(Ok(std::mem::take(&mut answers)));
            }
            if asked.is_empty() { Poll::Ready(Err(NoQuorum)) } else { Poll::Pending }
        })
        .await
    }

    async fn ask(&self, replica: u32, request: &str) -> Option<String> {
        let answer = async {
            let mut stream = BufReader::new(self.network.connect(replica).await?);
            stream.write_all(format!("{request}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_line(&mut answer).await?;
            io::Result::Ok(answer)
        };
        let answer = self.network.timeout(PATIENCE, answer).await?.ok()?;
        // Without a line's end the replica has hung up in the middle.
        answer.strip_suffix('\n').map(str::to_owned)
    }
}

// ---- versions in words

impl fmt::Display for Versioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.counter, self.writer, self.value)
    }
}

impl FromStr for Versioned {
    type Err = std::num::ParseIntError;

    fn from_str(words: &str) -> Result<Versioned, Self::Err> {
        let (counter, rest) = words.split_once(' ').unwrap_or((words, ""));
        let (writer, value) = rest.split_once(' ').unwrap_or((rest, ""));
        Ok(Versioned { counter: counter.parse()?, writer: writer.parse()?, value: value.to_owned() })
    }
}
