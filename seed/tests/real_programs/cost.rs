//! What a seed costs: printed for docs/GUESTS.md, and not judged, since that depends on who else computes.

use std::io::Write;
use std::time::Instant;

use mvpnet_seed::{UserFiles, volume};

use crate::setting::{keys, plain};

/// In a debug build elliptic curves take thirty times as long.
const SIZES: &[u32] = if cfg!(debug_assertions) { &[2, 64] } else { &[2, 64, 1024, 16_384] };

#[test]
#[allow(clippy::disallowed_methods, reason = "how long it takes is real time")]
fn what_a_seed_costs() {
    for size in SIZES {
        let (cluster, keys) = (plain(*size), keys());
        let made = ["first", "second"].map(|which| {
            let began = Instant::now();
            let rank = cluster.world.rank(*size / 2).unwrap();
            let image = volume(&cluster, &keys, rank, &UserFiles::default()).unwrap().image().unwrap();
            assert!(image.len() > 64 << 10);
            format!("{which} {:.1} ms", began.elapsed().as_secs_f64() * 1000.0)
        });
        let line = format!("COST a seed of {size} ranks: {}\n", made.join(", "));
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}
