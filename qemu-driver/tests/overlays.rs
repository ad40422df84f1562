//! Overlays by the real qemu-img, written to by qemu-io as a guest would.
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use mvpnet_qemu_driver::image::{
    self, CopyHold, ImageError, ImagePlan, ImageSpec, Overlays, PlanContext, overlay_dir,
};
use mvpnet_qemu_driver::names::find_program;
use mvpnet_qemu_driver::spec::Drive;
use mvpnet_switch::World;

/// qemu-img and qemu-io; without them the test is skipped, unless all tests are required.
fn tools() -> Option<(PathBuf, PathBuf)> {
    let found = find_program("qemu-img").zip(find_program("qemu-io"));
    if found.is_none() {
        assert_ne!(std::env::var("MVPNET_REQUIRE").as_deref(), Ok("all"), "qemu-img is required");
        println!("skipped: there is no qemu-img");
    }
    found
}

/// A directory with images, and jobs that use them.
struct Setting {
    home: tempfile::TempDir,
    qemu_img: PathBuf,
    qemu_io: PathBuf,
    overlay_dir: PathBuf,
    keep_in: Option<PathBuf>,
    size: Option<u64>,
    job: Option<&'static str>,
}

impl Setting {
    fn new() -> Option<Self> {
        let (qemu_img, qemu_io) = tools()?;
        let home = tempfile::tempdir().unwrap();
        let overlay_dir = overlay_dir(Some(home.path()));
        Some(Self { home, qemu_img, qemu_io, overlay_dir, keep_in: None, size: None, job: None })
    }

    fn keeping() -> Option<Self> {
        let mut setting = Self::new()?;
        setting.keep_in = Some(setting.at("kept/here"));
        Some(setting)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn raw(&self, name: &str, len: usize) -> PathBuf {
        fs::write(self.at(name), vec![0x11; len]).unwrap();
        self.at(name)
    }

    fn qcow2(&self, name: &str, size: &str) -> PathBuf {
        let image = self.at(name);
        self.img(&["create", "-q", "-f", "qcow2", image.to_str().unwrap(), size]);
        self.io(&image, "write -P 0x22 0 64k");
        image
    }

    fn img(&self, words: &[&str]) -> String {
        let output = Command::new(&self.qemu_img).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the guest does with its disk.
    fn io(&self, disk: &Path, command: &str) {
        let format = if disk.extension().is_some_and(|end| end == "qcow2") { "qcow2" } else { "raw" };
        let output =
            Command::new(&self.qemu_io).args(["-f", format, "-c", command]).arg(disk).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !said.contains("failed"), "{command}: {said} {output:?}");
    }

    fn info(&self, disk: &Path) -> serde_json::Value {
        serde_json::from_str(&self.img(&["info", "--output=json", "-U", disk.to_str().unwrap()])).unwrap()
    }

    fn plan(&self, argument: &str, rank: u32) -> ImagePlan {
        self.try_plan(argument, rank).unwrap()
    }

    fn try_plan(&self, argument: &str, rank: u32) -> Result<ImagePlan, ImageError> {
        let overlays = Overlays {
            by_default: true,
            dir: Some(&self.overlay_dir),
            keep_in: self.keep_in.as_deref(),
            size: self.size,
            qemu_img: Some(&self.qemu_img),
        };
        let rank = World::new(8).unwrap().rank(rank).unwrap();
        let context = PlanContext { run_dir: None, job: self.job, rank, disk: 0, overlays };
        image::plan(&ImageSpec::parse(OsStr::new(argument)).unwrap(), context)
    }

    fn refused(&self, argument: &str) -> String {
        self.refused_to(argument, 0)
    }

    fn refused_to(&self, argument: &str, rank: u32) -> String {
        let result = self.try_plan(argument, rank).and_then(|plan| {
            plan.check()?;
            plan.carry_out(&AtomicBool::new(false), &mut |_| {}).map(drop)
        });
        result.unwrap_err().to_string()
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(dir)).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn begin(plan: &ImagePlan) -> (CopyHold, PathBuf) {
    plan.check().unwrap();
    let hold = plan.carry_out(&AtomicBool::new(false), &mut |_| {}).unwrap().unwrap();
    (hold, file_of(plan))
}

fn file_of(plan: &ImagePlan) -> PathBuf {
    let Drive::Image { file, properties } = &plan.drive else { panic!("{:?}", plan.drive) };
    assert!(properties.contains(&("format".into(), "qcow2".into())), "{properties:?}");
    file.clone()
}

/// What the keeper does, the last first.
fn end(plan: &ImagePlan, hold: CopyHold) {
    drop(hold);
    plan.leftovers().iter().rev().for_each(|leftover| leftover.remove().unwrap());
}

#[test]
fn guests_write_to_overlays_of_their_own_and_never_to_the_image() {
    let Some(setting) = Setting::new() else { return };
    for image in [
        setting.raw("a.img", 1 << 20),
        setting.qcow2("b.qcow2", "8M"),
        // No whole number of sectors; names that mean something to qemu.
        setting.raw("odd,c.img", 100_001),
        setting.raw("nbd:d.img", 4096),
    ] {
        let before = fs::read(&image).unwrap();
        fs::set_permissions(&image, fs::Permissions::from_mode(0o444)).unwrap();
        let argument = image.display().to_string().replace(',', ",,");
        let plans = [0, 1].map(|rank| setting.plan(&argument, rank));
        let jobs = plans.each_ref().map(begin);
        for (rank, (_, overlay)) in jobs.iter().enumerate() {
            assert_eq!(overlay.metadata().unwrap().mode() & 0o777, 0o600);
            setting.io(overlay, &format!("write -P 0x3{rank} 0 512"));
            assert_eq!(setting.info(overlay)["full-backing-filename"].as_str(), image.to_str());
        }
        for (rank, (_, overlay)) in jobs.iter().enumerate() {
            setting.io(overlay, &format!("read -P 0x3{rank} 0 512"));
            let rest = if image.extension().is_some_and(|end| end == "qcow2") { 0x22 } else { 0x11 };
            setting.io(overlay, &format!("read -P {rest} 512 512"));
        }
        assert!(fs::read(&image).unwrap() == before, "{} was written to", image.display());
        for (plan, (hold, _)) in plans.iter().zip(jobs) {
            end(plan, hold);
        }
        assert!(!setting.overlay_dir.exists() && !setting.overlay_dir.parent().unwrap().exists());
    }
}

#[test]
fn a_raw_image_that_looks_like_another_is_raw_if_that_is_said() {
    let Some(setting) = Setting::new() else { return };
    let secret = setting.raw("secret", 4096);
    let image = setting.at("disk.img");
    setting.img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        secret.to_str().unwrap(),
        image.to_str().unwrap(),
    ]);
    // A guest that had the file for its raw disk may have written all that.
    let error = setting.refused(image.to_str().unwrap());
    assert!(error.contains("is based on ") && error.contains("secret"), "{error}");
    let plan = setting.plan(&format!("{},format=raw", image.display()), 0);
    let (hold, overlay) = begin(&plan);
    assert_eq!(setting.info(&overlay)["backing-filename-format"], "raw");
    setting.io(&overlay, "read -P 0x51 0 1");
    end(&plan, hold);
    // Who says that it is qcow2 gets what it says.
    let plan = setting.plan(&format!("{},format=qcow2", image.display()), 0);
    let (hold, overlay) = begin(&plan);
    setting.io(&overlay, "read -P 0x11 0 512");
    end(&plan, hold);
}

#[test]
fn a_disk_can_be_larger_than_its_image_but_not_smaller() {
    let Some(mut setting) = Setting::new() else { return };
    let image = setting.qcow2("b.qcow2", "8M").display().to_string();
    setting.size = Some(1 << 30);
    let plan = setting.plan(&image, 0);
    let (hold, overlay) = begin(&plan);
    assert_eq!(setting.info(&overlay)["virtual-size"], 1 << 30);
    assert!(overlay.metadata().unwrap().blocks() * 512 < 1 << 20);
    end(&plan, hold);
    setting.size = Some(4 << 20);
    let error = setting.refused(&image);
    assert!(error.contains("has 8.0 MiB already, and --disk-size 4.0 MiB would cut off its end"), "{error}");
    let error = setting.refused(&format!("{image},mvpctl=s"));
    assert!(error.contains("--disk-size is for overlays"), "{error}");
}

#[test]
fn what_is_kept_is_there_the_next_time_and_may_grow() {
    let Some(mut setting) = Setting::keeping() else { return };
    setting.job = Some("lab");
    let image = setting.qcow2("b.qcow2", "8M").display().to_string();
    for round in 0..3 {
        setting.size = (round > 0).then_some(16 << 20);
        let plan = setting.plan(&image, 5);
        let (hold, overlay) = begin(&plan);
        assert_eq!(overlay, setting.at("kept/here/b.lab.5.qcow2"));
        match round {
            0 => setting.io(&overlay, "write -P 0x77 1M 64k"),
            _ => setting.io(&overlay, "read -P 0x77 1M 64k"),
        }
        assert_eq!(setting.info(&overlay)["virtual-size"], if round > 0 { 16 << 20 } else { 8 << 20 });
        end(&plan, hold);
        assert_eq!(setting.names("kept/here"), ["b.lab.5.qcow2", "b.lab.5.qcow2.base.json"]);
    }
    setting.size = Some(12 << 20);
    assert!(setting.refused_to(&image, 5).contains("would cut off its end"));
}

#[test]
fn what_is_kept_is_refused_on_another_image_or_a_changed_one() {
    let Some(setting) = Setting::keeping() else { return };
    let image = setting.qcow2("b.qcow2", "8M");
    let begun = || {
        let plan = setting.plan(image.to_str().unwrap(), 0);
        let (hold, overlay) = begin(&plan);
        end(&plan, hold);
        overlay
    };
    let overlay = begun();
    fs::create_dir(setting.at("other")).unwrap();
    let other = setting.qcow2("other/b.qcow2", "8M");
    let error = setting.refused(other.to_str().unwrap());
    assert!(
        error.contains(&format!("is based on {}, not on {}", image.display(), other.display())),
        "{error}"
    );
    assert!(error.contains("to begin anew") && error.contains("--persist"), "{error}");

    setting.io(&image, "write -P 0x99 2M 64k");
    let error = setting.refused(image.to_str().unwrap());
    assert!(error.contains("has been written to since"), "{error}");

    fs::remove_file(&overlay).unwrap();
    assert_eq!(begun(), overlay, "it begins anew");
    fs::remove_file(setting.at("kept/here/b.0.qcow2.base.json")).unwrap();
    let error = setting.refused(image.to_str().unwrap());
    assert!(error.contains("what it is based on is not known"), "{error}");
    fs::remove_file(&image).unwrap();
    assert!(setting.refused(image.to_str().unwrap()).contains("there is no such file"));
}

#[test]
fn what_is_kept_belongs_to_one_job_at_a_time() {
    let Some(setting) = Setting::keeping() else { return };
    let image = setting.raw("a.img", 1 << 20).display().to_string();
    let first = setting.plan(&image, 0);
    let (hold, _) = begin(&first);
    let error = setting.refused(&image);
    let this = format!("in use by another job (process {} on ", std::process::id());
    assert!(error.contains(&this) && error.contains("end that first"), "{error}");
    // The second job's keeper takes nothing from the first.
    first.leftovers().iter().for_each(|leftover| leftover.remove().unwrap());
    assert_eq!(setting.names("kept/here").len(), 3);
    let (second_hold, _) = begin(&setting.plan(&image, 1));
    drop(second_hold);
    end(&first, hold);
    let (hold, _) = begin(&first);
    end(&first, hold);
}

/// A process that has an image open to write to it.
struct Writer(Child);

impl Writer {
    fn new(setting: &Setting, image: &Path) -> Self {
        let child = Command::new(&setting.qemu_io)
            .args(["-f", "raw"])
            .arg(image)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn an_image_that_a_guest_writes_to_is_no_base() {
    let Some(setting) = Setting::new() else { return };
    let image = setting.raw("a.img", 1 << 20);
    let plan = setting.plan(image.to_str().unwrap(), 0);
    plan.check().unwrap();
    let writer = Writer::new(&setting, &image);
    let until = Instant::now() + Duration::from_secs(20);
    while plan.check().is_ok() {
        assert!(Instant::now() < until, "the lock is not seen");
        std::thread::yield_now();
    }
    let error = plan.check().unwrap_err().to_string();
    assert!(error.contains("a guest writes to it at this moment"), "{error}");
    drop(writer);
    plan.check().unwrap();
}

#[test]
fn an_overlay_may_be_based_on_a_copy_that_ranks_share() {
    let Some(setting) = Setting::new() else { return };
    let image = setting.raw("a.img", 1 << 20);
    let run_dir = setting.at("run");
    fs::create_dir(&run_dir).unwrap();
    let plans = [0, 1].map(|rank| {
        let overlays = Overlays {
            dir: Some(&setting.overlay_dir),
            qemu_img: Some(&setting.qemu_img),
            ..Overlays::default()
        };
        let rank = World::new(8).unwrap().rank(rank).unwrap();
        let context = PlanContext { run_dir: Some(&run_dir), job: Some("j"), rank, disk: 0, overlays };
        let argument = format!("{},mvpctl=cjdo", image.display());
        image::plan(&ImageSpec::parse(OsStr::new(&argument)).unwrap(), context).unwrap()
    });
    let jobs = plans.each_ref().map(begin);
    assert_eq!(setting.names("run"), ["a.j.img", "a.j.img.lock"]);
    setting.io(&jobs[0].1, "write -P 0x44 0 64k");
    setting.io(&jobs[1].1, "read -P 0x11 0 64k");
    for (plan, (hold, _)) in plans.iter().zip(jobs) {
        end(plan, hold);
    }
    assert!(setting.names("run").is_empty() && !setting.overlay_dir.exists());
}

#[test]
fn what_qemu_img_complains_of_is_passed_on() {
    let Some(setting) = Setting::new() else { return };
    let image = setting.raw("a.img", 1 << 20);
    let error = setting.refused(&format!("{},format=vmdk", image.display()));
    assert!(error.contains("no overlay ") && error.contains("VMDK"), "{error}");
}
