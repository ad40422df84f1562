//! Whether two guests of a host would write to one image. One rank of the host looks: each alone knows of its own
//! only. Guests of other hosts are not seen; there qemu's locks are what is left, where the file system has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mvpnet_node::job::Problem;
use mvpnet_qemu_driver::image::ImagePlan;
use mvpnet_switch::Rank;

/// Fails when two of `images`, those of all ranks of this host, are one file that guests write to.
pub fn check(images: &[(Rank, ImagePlan)]) -> Result<(), Problem> {
    let mut writers: BTreeMap<PathBuf, Rank> = BTreeMap::new();
    for (rank, image) in images {
        let Some(file) = image.written() else { continue };
        if let Some(other) = writers.insert(file.clone(), *rank) {
            let who = match other == *rank {
                true => format!("two disks of rank {rank}"),
                false => format!("the guests of ranks {other} and {rank}"),
            };
            let text = format!(
                "image {}: {who} would write to it, and ruin it: give each an overlay (--overlay, or mvpctl=o), a \
                 snapshot that is thrown away (mvpctl=s) or a copy (-r DIR), or open it read-only (mvpctl=p)",
                file.display()
            );
            return Err(Problem { text, usage: true, of_job: true });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use mvpnet_qemu_driver::image::{self, ImageSpec, Overlays, PlanContext};
    use mvpnet_switch::World;

    use super::*;

    fn plans(specs: &[&str], by_default: bool) -> Vec<(Rank, ImagePlan)> {
        let world = World::new(8).unwrap();
        let overlays = Overlays { by_default, dir: Some(Path::new("/o")), ..Overlays::default() };
        let plan = |(rank, spec): (Rank, &&str)| {
            let run_dir = Some(Path::new("/r")).filter(|_| spec.contains("=c"));
            let context = PlanContext { run_dir, job: None, rank, disk: 0, overlays };
            (rank, image::plan(&ImageSpec::parse(OsStr::new(spec)).unwrap(), context).unwrap())
        };
        world.ranks().zip(specs).map(plan).collect()
    }

    #[test]
    fn two_guests_that_write_to_one_image_are_refused_with_the_ways_out() {
        for specs in
            [["/i/a", "/i/a"], ["/i/a,format=raw", "/i/a,mvpctl="], ["/i/a,mvpctl=c", "/i/a,mvpctl=c"]]
        {
            let problem = check(&plans(&specs, false)).unwrap_err();
            assert!(problem.usage && problem.text.contains("ranks 0 and 1"), "{problem:?}");
            for way in ["mvpctl=o", "mvpctl=s", "-r DIR", "mvpctl=p"] {
                assert!(problem.text.contains(way), "{problem:?}");
            }
        }
    }

    #[test]
    fn who_only_reads_or_writes_elsewhere_is_not_in_the_way() {
        for specs in [
            ["/i/a", "/i/b"],
            ["/i/a,mvpctl=s", "/i/a,mvpctl=s"],
            ["/i/a,mvpctl=o", "/i/a,mvpctl=o"],
            ["/i/a,mvpctl=p", "/i/a,media=cdrom"],
            ["/i/a,mvpctl=cr", "/i/a,mvpctl=cr"],
            ["/i/a,mvpctl=co", "/i/a,mvpctl=co"],
            ["/i/a,file.locking=off", "/i/a,file.locking=off"],
            ["file=/i/a", "file=/i/a"],
        ] {
            check(&plans(&specs, false)).unwrap();
        }
        check(&plans(&["/i/a", "/i/a"], true)).unwrap();
    }
}
