//! Whether images are what they should be, found out once per host before any guest starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mvpnet_qemu_driver::image::ImageSpec;
use mvpnet_qemu_driver::image::digest::{self, Digest};
use mvpnet_switch::World;

use super::plan::unchecked_images;
use crate::args::{RankOptions, Usage};
use crate::progress::{Printer, bar};

/// Who waits longer is shown for what.
const PATIENCE: Duration = Duration::from_secs(2);

/// Compares the images of all ranks of this host with the digests that are asked for. Arguments that mean nothing are
/// passed over: their ranks say so.
///
/// # Errors
/// An image is another or cannot be read, or its digest is not known.
pub fn check(housemates: &[RankOptions], world: World) -> Result<(), Usage> {
    let mut wanted: BTreeSet<(PathBuf, Digest)> = BTreeSet::new();
    for options in housemates {
        let asks = |spec: &ImageSpec| matches!(spec, ImageSpec::File { digest: Some(_), .. });
        if options.shared.digests.is_none() && !options.images.iter().any(asks) {
            continue;
        }
        let Ok(rank) = world.rank(options.rank) else { continue };
        let Ok(plans) = unchecked_images(options, rank) else { continue };
        for (spec, plan) in options.images.iter().zip(plans) {
            let (ImageSpec::File { digest, .. }, Some(source)) = (spec, plan.source) else { continue };
            let digest = match (digest, &options.shared.digests) {
                (Some(digest), _) => digest.clone(),
                (None, Some(list)) => listed(list, &source)?,
                (None, None) => continue,
            };
            wanted.insert((source, digest));
        }
    }
    let shows = housemates.first().is_some_and(|options| options.shared.progress);
    wanted.iter().try_for_each(|(image, digest)| compare(image, digest, shows))
}

fn listed(list: &Path, image: &Path) -> Result<Digest, Usage> {
    let wrong =
        |error: &dyn std::fmt::Display| Usage::Digest(format!("--digests {}: {error}", list.display()));
    let text = std::fs::read(list).map_err(|error| wrong(&error))?;
    digest::listed(&String::from_utf8_lossy(&text), image).map_err(|error| wrong(&error))
}

#[allow(clippy::disallowed_methods, reason = "people wait in real time")]
fn compare(image: &Path, wanted: &Digest, shows: bool) -> Result<(), Usage> {
    let begun = Instant::now();
    let mut printer = Printer::stderr();
    let name = image.file_name().unwrap_or(image.as_os_str()).display();
    let result = digest::verify(image, wanted, digest::cache_dir().as_deref(), &mut |done, total| {
        let elapsed = begun.elapsed();
        if shows && elapsed >= PATIENCE {
            let what = format!("comparing {name} with its {}", wanted.algorithm);
            printer.work(&what, &bar(done, total, elapsed), elapsed);
        }
    });
    printer.finish();
    result.map_err(|error| Usage::Digest(error.to_string()))
}
