//! Plans and copies.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

use mvpnet_switch::World;

use super::shared::part_of;
use super::*;

fn context<'a>(run_dir: Option<&'a Path>, job: Option<&'a str>, rank: u32) -> PlanContext<'a> {
    let rank = World::new(8).unwrap().rank(rank).unwrap();
    PlanContext { run_dir, job, rank, disk: 0, overlays: Overlays::default() }
}

fn plan_of(spec: &str, context: PlanContext<'_>) -> Result<ImagePlan, ImageError> {
    plan(&ImageSpec::parse(OsStr::new(spec)).unwrap(), context)
}

fn carry_out(plan: &ImagePlan) -> (CopyHold, Vec<Progress>) {
    let mut seen = Vec::new();
    let hold = plan.carry_out(&AtomicBool::new(false), &mut |progress| seen.push(progress)).unwrap();
    (hold.unwrap(), seen)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn tidy(plan: &ImagePlan) {
    for leftover in plan.leftovers() {
        leftover.remove().unwrap();
    }
}

#[test]
fn without_a_run_directory_the_image_is_used_where_it_is() {
    let plan = plan_of("/i/a.qcow2", context(None, Some("j"), 3)).unwrap();
    assert_eq!(plan.source.as_deref(), Some(Path::new("/i/a.qcow2")));
    assert_eq!((&plan.copy, plan.delete_source, plan.writes), (&None, false, true));
    assert!(plan.leftovers().is_empty());
}

#[test]
fn with_a_run_directory_each_rank_gets_a_copy_that_is_removed() {
    let plan = plan_of("/i/a.b.qcow2", context(Some(Path::new("/r")), Some("j"), 3)).unwrap();
    let copy = plan.copy.as_ref().unwrap();
    assert_eq!(copy.to, Path::new("/r/a.b.j.3.qcow2"));
    assert!(copy.delete_at_exit && copy.own);
    let Drive::Image { file, .. } = &plan.drive else { panic!("{:?}", plan.drive) };
    assert_eq!(file, &copy.to);
}

#[test]
fn letters_name_the_source_and_the_copy() {
    let run_dir = Some(Path::new("/r"));
    let plan = plan_of("/i/a.img,mvpctl=cjJRD", context(run_dir, Some("x"), 2)).unwrap();
    assert_eq!(plan.source.as_deref(), Some(Path::new("/i/a.x.2.img")));
    assert_eq!(plan.copy.as_ref().unwrap().to, Path::new("/r/a.x.img"));
    assert!(plan.leftovers().contains(&Leftover::File("/i/a.x.2.img".into())));
    let plan = plan_of("/i/disk,mvpctl=cr", context(run_dir, None, 2)).unwrap();
    assert_eq!(plan.copy.unwrap().to, Path::new("/r/disk.2"));
}

#[test]
fn read_only_and_snapshot_become_properties_and_need_no_write_access() {
    let properties = |spec: &str| match plan_of(spec, context(None, None, 0)).unwrap() {
        ImagePlan { drive: Drive::Image { properties, .. }, writes, .. } => {
            let shown: Vec<_> =
                properties.iter().map(|(n, v)| format!("{}={}", n.display(), v.display())).collect();
            (shown.join(","), writes)
        }
        plan => panic!("{plan:?}"),
    };
    assert_eq!(properties("a,mvpctl=p"), ("media=disk,if=virtio,read-only=on".into(), false));
    assert_eq!(properties("a,mvpctl=s"), ("media=disk,if=virtio,snapshot=on".into(), false));
    assert_eq!(properties("a,if=ide,snapshot=off"), ("if=ide,snapshot=off,media=disk".into(), true));
    assert_eq!(properties("a,read-only=on,mvpctl=p"), ("read-only=on,media=disk,if=virtio".into(), false));
}

#[test]
fn a_colon_in_a_file_name_is_no_protocol_to_qemu() {
    let file = |spec: &str| match plan_of(spec, context(None, None, 0)).unwrap().drive {
        Drive::Image { file, .. } => file,
        Drive::Verbatim(value) => panic!("{value:?}"),
    };
    assert_eq!(file("a:b.img"), Path::new("./a:b.img"));
    assert_eq!(file("/i/a:b.img"), Path::new("/i/a:b.img"));
    assert_eq!(file("i/a:b.img"), Path::new("i/a:b.img"));
}

#[test]
fn an_argument_of_qemus_own_is_not_looked_at() {
    let plan = plan_of("file=/no/such,if=ide", context(Some(Path::new("/r")), None, 0)).unwrap();
    plan.check().unwrap();
    assert_eq!(plan.drive, Drive::Verbatim("file=/no/such,if=ide".into()));
    assert!(plan.leftovers().is_empty());
}

#[test]
fn what_cannot_work_is_said_before_anything_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (image, run_dir) = (dir.path().join("a.img"), dir.path());
    let says = |spec: String, run_dir: Option<&Path>, part: &str| {
        let result = plan_of(&spec, context(run_dir, None, 0)).and_then(|plan| plan.check());
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    says(format!("{},mvpctl=c", image.display()), None, "there is none (-r)");
    says(image.display().to_string(), None, "there is no such file");
    says(dir.path().display().to_string(), None, "is a directory");
    says("/dev/null".into(), None, "is not a file");
    fs::write(&image, "x").unwrap();
    says(format!("{},mvpctl=cd", image.display()), Some(run_dir), "copied onto itself");
    says(
        image.display().to_string(),
        Some(&dir.path().join("absent")),
        "cannot be copied to the run directory",
    );
}

#[test]
fn a_run_directory_without_room_is_an_error_with_the_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let error = check_room(dir.path(), Path::new("/i/a.img"), u64::MAX / 2).unwrap_err().to_string();
    assert!(error.contains("needs 8388608.0 TiB, and ") && error.ends_with("iB are free"), "{error}");
    check_room(dir.path(), Path::new("/i/a.img"), 1).unwrap();
}

#[test]
fn a_copy_is_complete_writable_and_gone_after_tidying() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    fs::create_dir(&run_dir).unwrap();
    let image = dir.path().join("a,b.img");
    fs::write(&image, vec![7; 100_000]).unwrap();
    fs::set_permissions(&image, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    let spec = image.display().to_string().replace(',', ",,");
    let plan = plan_of(&spec, context(Some(&run_dir), Some("j"), 1)).unwrap();
    plan.check().unwrap();
    let blocks = fs::metadata(&image).unwrap().blocks();
    assert_eq!(plan.needs().unwrap()[0].bytes, 100_000.min(blocks * 512));
    let (hold, seen) = carry_out(&plan);
    let copy = run_dir.join("a,b.j.1.img");
    assert_eq!(fs::read(&copy).unwrap(), vec![7; 100_000]);
    assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o600);
    assert_eq!(seen.last(), Some(&Progress::Copying { done: 100_000, total: 100_000 }));
    drop(hold);
    tidy(&plan);
    assert!(names(&run_dir).is_empty());
    assert!(image.exists());
}

#[test]
fn ranks_of_one_host_copy_a_shared_image_once_and_the_last_one_removes_it() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("a.img");
    fs::write(&image, vec![1; 3 << 20]).unwrap();
    let run_dir = dir.path().join("run");
    fs::create_dir(&run_dir).unwrap();
    let spec = format!("{},mvpctl=cjdp", image.display());
    let plans: Vec<_> =
        (0..8).map(|rank| plan_of(&spec, context(Some(&run_dir), Some("j"), rank)).unwrap()).collect();
    let start = Barrier::new(plans.len());
    let mut results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = plans
            .iter()
            .map(|plan| {
                scope.spawn(|| {
                    start.wait();
                    carry_out(plan)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let copied = |seen: &[Progress]| seen.iter().any(|step| matches!(step, Progress::Copying { .. }));
    assert_eq!(results.iter().filter(|(_, seen)| copied(seen)).count(), 1);
    let last = results.pop().unwrap();
    for (plan, (hold, _)) in plans.iter().zip(results) {
        drop(hold);
        tidy(plan);
        assert_eq!(names(&run_dir), ["a.j.img", "a.j.img.lock"]);
    }
    drop(last);
    tidy(&plans[7]);
    assert!(names(&run_dir).is_empty());
}

#[test]
fn a_copy_left_by_a_crash_is_replaced_and_one_kept_on_purpose_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("a.img");
    fs::write(&image, "new").unwrap();
    let run_dir = dir.path().join("run");
    fs::create_dir(&run_dir).unwrap();
    let old = run_dir.join("a.img");
    for (letters, expected) in [("cd", "new"), ("c", "old and kept")] {
        fs::write(&old, "old and kept").unwrap();
        fs::write(part_of(&old), "half").unwrap();
        let plan =
            plan_of(&format!("{},mvpctl={letters}", image.display()), context(Some(&run_dir), None, 0))
                .unwrap();
        let (hold, _) = carry_out(&plan);
        assert_eq!(fs::read_to_string(&old).unwrap(), expected);
        drop(hold);
        tidy(&plan);
        assert_eq!(names(&run_dir), if letters == "c" { vec!["a.img"] } else { vec![] });
    }
}

#[test]
fn a_cancelled_copy_leaves_no_part() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("a.img");
    fs::write(&image, vec![1; 40 << 20]).unwrap();
    let run_dir = dir.path().join("run");
    fs::create_dir(&run_dir).unwrap();
    let plan = plan_of(&image.display().to_string(), context(Some(&run_dir), None, 0)).unwrap();
    let cancel = AtomicBool::new(false);
    let result = plan.carry_out(&cancel, &mut |progress| {
        if let Progress::Copying { done: 1.., .. } = progress {
            cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    assert!(matches!(result, Err(ImageError::Cancelled { .. })), "{result:?}");
    tidy(&plan);
    assert!(names(&run_dir).is_empty());
}

fn with_overlays<'a>(overlays: Overlays<'a>, rank: u32, disk: usize) -> PlanContext<'a> {
    PlanContext { disk, overlays, ..context(None, Some("j"), rank) }
}

const BY_DEFAULT: Overlays<'static> =
    Overlays { by_default: true, dir: None, keep_in: None, size: None, qemu_img: None };

#[test]
fn an_image_that_asks_for_nothing_gets_an_overlay_where_that_is_the_default() {
    let overlays = Overlays { dir: Some(Path::new("/o")), ..BY_DEFAULT };
    let plan = plan_of("/i/a.b.img,cache=none,format=raw", with_overlays(overlays, 3, 0)).unwrap();
    let overlay = plan.overlay.as_ref().unwrap();
    assert_eq!(
        (overlay.file.as_path(), overlay.base.as_path()),
        (Path::new("/o/a.b.3.qcow2"), Path::new("/i/a.b.img"))
    );
    assert_eq!((overlay.base_format.as_deref(), overlay.kept), (Some(OsStr::new("raw")), false));
    let Drive::Image { file, properties } = &plan.drive else { panic!("{:?}", plan.drive) };
    let shown: Vec<_> = properties.iter().map(|(n, v)| format!("{}={}", n.display(), v.display())).collect();
    assert_eq!(
        (file, shown.join(",").as_str()),
        (&overlay.file, "cache=none,media=disk,if=virtio,format=qcow2")
    );
    assert_eq!(plan.written(), Some("/o/a.b.3.qcow2".into()));
    let second = plan_of("/i/a.b.img", with_overlays(overlays, 3, 1)).unwrap();
    assert_eq!(second.overlay.unwrap().file, Path::new("/o/a.b.3.disk1.qcow2"));
}

#[test]
fn an_image_that_says_what_becomes_of_writes_gets_none() {
    for spec in
        ["/a,mvpctl=", "/a,mvpctl=s", "/a,read-only=on", "/a,snapshot=on", "/a,media=cdrom", "file=/a"]
    {
        let plan = plan_of(spec, with_overlays(BY_DEFAULT, 0, 0)).unwrap();
        assert_eq!(plan.overlay, None, "{spec}");
    }
    assert!(plan_of("/a", context(None, None, 0)).unwrap().overlay.is_none());
    assert!(plan_of("/a,mvpctl=o", context(None, None, 0)).unwrap().overlay.is_some());
}

#[test]
fn kept_overlays_are_named_by_image_job_and_rank() {
    let overlays = Overlays { keep_in: Some(Path::new("/k")), ..BY_DEFAULT };
    let plan = plan_of("/i/a.img", with_overlays(overlays, 2, 0)).unwrap();
    let overlay = plan.overlay.as_ref().unwrap();
    assert!(overlay.kept && overlay.file == Path::new("/k/a.j.2.qcow2"), "{overlay:?}");
    assert!(!plan.leftovers().iter().any(|leftover| matches!(leftover, Leftover::File(_))));
}

#[test]
fn overlays_that_contradict_the_rest_are_refused() {
    let overlays = Overlays { keep_in: Some(Path::new("/k")), ..BY_DEFAULT };
    let says = |spec: &str, part: &str| {
        let message = plan_of(spec, with_overlays(overlays, 0, 0)).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    says("/a,mvpctl=os", "with snapshot=on nothing gets there");
    says("/a,mvpctl=op", "with read-only=on nothing gets there");
    says("/a,media=cdrom,mvpctl=o", "with media=cdrom nothing gets there");
    says("/a,mvpctl=oD", "deletes what the overlay that is kept (--persist) is based on");
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("a.img");
    fs::write(&image, "x").unwrap();
    let plan = plan_of(image.to_str().unwrap(), with_overlays(BY_DEFAULT, 0, 0)).unwrap();
    let message = plan.check().unwrap_err().to_string();
    assert!(message.contains("Debian: qemu-utils") && message.contains("mvpctl=s"), "{message}");
}
