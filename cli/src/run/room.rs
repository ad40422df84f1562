//! Whether the copies and overlays that all ranks of a host make fit where they are made. One rank of the host looks:
//! each alone would find room that they do not have together.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mvpnet_node::job::Problem;
use mvpnet_qemu_driver::image::{self, ImageError, ImagePlan, RoomNeed};

/// Fails when `images`, those of all ranks of this host, do not fit.
pub fn check<'a>(images: impl Iterator<Item = &'a ImagePlan>) -> Result<(), Problem> {
    sum_up(images).map_err(|error| Problem { text: error.to_string(), usage: true, of_job: false })
}

fn sum_up<'a>(images: impl Iterator<Item = &'a ImagePlan>) -> Result<(), ImageError> {
    // Ranks may share a copy: each counts once.
    let mut made: BTreeMap<PathBuf, (RoomNeed, &Path)> = BTreeMap::new();
    for image in images {
        let source = image.source.as_deref().unwrap_or(Path::new(""));
        made.extend(image.needs()?.into_iter().map(|need| (need.file.clone(), (need, source))));
    }
    // Copies and overlays may be in different directories of one file system.
    let mut systems: BTreeMap<u64, (u64, &Path, &Path)> = BTreeMap::new();
    for (need, source) in made.values() {
        systems.entry(file_system(need.dir())).or_insert((0, need.dir(), source)).0 += need.bytes;
    }
    systems.into_values().try_for_each(|(needed, dir, source)| image::check_room(dir, source, needed))
}

/// The number of the file system that a directory is in, or will be.
fn file_system(dir: &Path) -> u64 {
    dir.ancestors().find_map(|dir| dir.metadata().ok()).map_or(0, |found| found.dev())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use mvpnet_qemu_driver::image::{ImageSpec, Overlays, PlanContext};
    use mvpnet_switch::World;

    use super::*;

    fn plans(ranks: u32, spec: &OsStr, run_dir: &Path) -> Vec<ImagePlan> {
        let spec = ImageSpec::parse(spec).unwrap();
        let world = World::new(ranks).unwrap();
        let overlays = Overlays { dir: Some(run_dir), ..Overlays::default() };
        let context = |rank| PlanContext { run_dir: Some(run_dir), job: None, rank, disk: 0, overlays };
        world.ranks().map(|rank| image::plan(&spec, context(rank)).unwrap()).collect()
    }

    #[test]
    fn copies_of_all_ranks_count_and_shared_ones_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("disk.img");
        let stat = nix::sys::statvfs::statvfs(dir.path()).unwrap();
        let free = stat.blocks_available() * stat.fragment_size();
        // Real blocks, so that the copy needs them: a hundredth of what is free, at most 8 MiB.
        let len = (free / 100).min(8 << 20);
        std::fs::write(&source, vec![1; usize::try_from(len).unwrap()]).unwrap();
        let many = u32::try_from(free / len + 2).unwrap().min(200_000);
        let mut own = source.clone().into_os_string();
        own.push(",mvpctl=cr");
        let mut shared = source.into_os_string();
        shared.push(",mvpctl=c");
        let error = check(plans(many, &own, dir.path()).iter()).unwrap_err();
        assert!(error.usage && error.text.contains("disk.img"), "{error:?}");
        check(plans(many, &shared, dir.path()).iter()).unwrap();
    }

    #[test]
    fn every_overlay_counts_for_what_a_first_boot_writes() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("disk.img");
        std::fs::write(&source, "small").unwrap();
        let mut spec = source.into_os_string();
        spec.push(",mvpctl=o");
        let stat = nix::sys::statvfs::statvfs(dir.path()).unwrap();
        let fitting = (stat.blocks_available() * stat.fragment_size()) >> 26;
        check(plans(1, &spec, dir.path()).iter()).unwrap();
        let many = u32::try_from(fitting + 100).unwrap().min(200_000);
        let error = check(plans(many, &spec, &dir.path().join("not there")).iter()).unwrap_err();
        assert!(error.text.contains("are free"), "{error:?}");
    }
}
