//! What the flags of `mvpnet seed` ask for: those of a job that say what guests are told are read as a job reads them.

use std::path::PathBuf;

use super::flags;
use crate::args::{self, HostDefaults, Launch, RankOptions, Span, Usage, one, values};

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `--rank`.
    pub rank: u32,
    /// `--wsize`.
    pub world: u32,
    /// `--out`.
    pub out: Option<PathBuf>,
    /// `--dir`.
    pub dir: Option<PathBuf>,
    job: args::Options,
}

impl Options {
    pub(crate) fn read(flags: flags::Flags) -> Result<Self, Usage> {
        let flags::Flags { rank, wsize, out, dir, job, smp, mtu, domain, cloud_init, user, guests, help: _ } =
            flags;
        let needed = |what: &str| Usage::Seed(format!("mvpnet seed needs {what}"));
        let world =
            one("--wsize", &wsize, values::ranks)?.ok_or_else(|| needed("the number of ranks: --wsize 8"))?;
        let rank = one("--rank", &rank, values::number)?.ok_or_else(|| needed("whose it is: --rank 3"))?;
        let out = one("--out", &out, values::path)?;
        let dir = one("--dir", &dir, values::path)?;
        if out.is_none() && dir.is_none() {
            return Err(needed("a file or a directory to write to: --out FILE or --dir DIR"));
        }
        // A disk, for guests without one are told nothing. It is never looked for.
        let image = vec!["disk".into()];
        let flags =
            args::Flags { image, job, smp, mtu, domain, cloud_init, user, guests, ..args::Flags::default() };
        let job = args::Options::read(Launch { flags, help: None, application: Vec::new() })?;
        Ok(Self { rank, world, out, dir, job })
    }

    /// The values for the rank, after checking them for all.
    pub fn told(&self, host: &HostDefaults) -> Result<RankOptions, Usage> {
        self.job.for_rank(self.rank, Span::whole(self.world), host)
    }
}
