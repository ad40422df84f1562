//! The flags of `mvpnet seed`: those of a job that say what guests are told, read as a job reads them.

use std::path::PathBuf;

use super::flags::{Flags, Launch};
use super::host::HostDefaults;
use super::options::{Options, RankOptions, one};
use super::tunnel::Span;
use super::usage::Usage;
use super::values;
use crate::seed;

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedOptions {
    /// `--rank`.
    pub rank: u32,
    /// `--wsize`.
    pub world: u32,
    /// `--out`.
    pub out: Option<PathBuf>,
    /// `--dir`.
    pub dir: Option<PathBuf>,
    job: Options,
}

impl SeedOptions {
    pub(super) fn read(flags: seed::Flags) -> Result<Self, Usage> {
        let seed::Flags { rank, wsize, out, dir, job, smp, mtu, domain, cloud_init, user, guests, help: _ } =
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
        let flags = Flags { image, job, smp, mtu, domain, cloud_init, user, guests, ..Flags::default() };
        let job = Options::read(Launch { flags, help: None, application: Vec::new() })?;
        Ok(Self { rank, world, out, dir, job })
    }

    /// The values for the rank, after checking them for all.
    pub fn told(&self, host: &HostDefaults) -> Result<RankOptions, Usage> {
        self.job.for_rank(self.rank, Span::whole(self.world), host)
    }
}
