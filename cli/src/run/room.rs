//! Whether the copies that all ranks of a host make fit into its run directory. One rank of the host looks:
//! each alone would find room that they do not have together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mvpnet_node::job::Problem;
use mvpnet_qemu_driver::image::{self, ImageError, ImagePlan};

/// Fails when `images`, those of all ranks of this host, do not fit.
pub fn check(images: &[ImagePlan]) -> Result<(), Problem> {
    sum_up(images).map_err(|error| Problem { text: error.to_string(), usage: true, of_job: false })
}

fn sum_up(images: &[ImagePlan]) -> Result<(), ImageError> {
    // Ranks may share a copy: each counts once.
    let mut copies: BTreeMap<PathBuf, &ImagePlan> = BTreeMap::new();
    for image in images {
        if let Some(copy) = &image.copy {
            copies.insert(copy.to.clone(), image);
        }
    }
    let mut dirs: BTreeMap<&Path, (u64, &Path)> = BTreeMap::new();
    for image in copies.values() {
        if let (Some(copy), Some(source)) = (&image.copy, &image.source) {
            dirs.entry(copy.dir()).or_insert((0, source)).0 += image.room_needed()?;
        }
    }
    dirs.into_iter().try_for_each(|(dir, (needed, source))| image::check_room(dir, source, needed))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use mvpnet_qemu_driver::image::{ImageSpec, PlanContext};
    use mvpnet_switch::World;

    use super::*;

    fn plans(ranks: u32, spec: &OsStr, run_dir: &Path) -> Vec<ImagePlan> {
        let spec = ImageSpec::parse(spec).unwrap();
        let world = World::new(ranks).unwrap();
        world
            .ranks()
            .map(|rank| image::plan(&spec, PlanContext { run_dir: Some(run_dir), job: None, rank }).unwrap())
            .collect()
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
        let error = check(&plans(many, &own, dir.path())).unwrap_err();
        assert!(error.usage && error.text.contains("disk.img"), "{error:?}");
        check(&plans(many, &shared, dir.path())).unwrap();
    }
}
