//! Standard input on its way to commands.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;

use mvpnet_node::session::SessionInput;

/// The most that several nodes can be given.
const MOST: u64 = 64 << 20;

/// What there is to be read.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Nothing.
    Nothing,
    /// What comes, as it comes; for one node.
    Live,
    /// All of it, read before.
    Whole(Arc<[u8]>),
}

impl Source {
    /// Reads all of standard input.
    pub(super) fn whole() -> io::Result<Self> {
        let mut bytes = Vec::new();
        io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST {
            let why = format!(
                "standard input for several nodes may have {} MiB; copy it as a file first",
                MOST >> 20
            );
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        Ok(Self::Whole(bytes.into()))
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Gives it to a command, on a thread of its own. One that ends before it has read all of it is no matter.
    pub(super) fn give(&self, mut input: SessionInput) -> io::Result<()> {
        let giving: Box<dyn FnOnce() + Send> = match self.clone() {
            Self::Nothing => return Ok(()),
            Self::Live => Box::new(move || {
                let _ = copy(&mut io::stdin(), &mut input).and_then(|()| input.end());
            }),
            Self::Whole(bytes) => Box::new(move || {
                let _ = input.write_all(&bytes).and_then(|()| input.end());
            }),
        };
        thread::Builder::new().name("input".into()).spawn(giving).map(drop)
    }
}

/// Copies without keeping anything back.
pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => to.write_all(&buffer[..len])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
