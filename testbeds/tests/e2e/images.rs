//! Disk images that are only read, and the overlays that take what guests write.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use crate::harness::guest::Guest;
use crate::harness::leftovers::TIDY;
use crate::harness::setting::tiny;
use crate::harness::{Ended, Job, Launcher, Need, Running, begin};

/// Where a guest writes: a place of the disk that nothing reads.
const AT: &str = "seek=1600 bs=4096 count=1 conv=notrunc";

/// An image of the tests' own, and what it is to be afterwards.
struct Image {
    directory: tempfile::TempDir,
    path: PathBuf,
    contents: Vec<u8>,
}

impl Image {
    /// A copy of one of the tiny guest's disks, that nobody may write to.
    fn of(name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("e2e-image-").tempdir().unwrap();
        let path = directory.path().join(name);
        fs::copy(tiny(name), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        let contents = fs::read(&path).unwrap();
        Self { directory, path, contents }
    }

    fn text(&self) -> String {
        self.path.display().to_string()
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn is_as_it_was(&self) -> bool {
        fs::read(&self.path).unwrap() == self.contents
    }
}

/// Has a guest write a text to its first disk.
fn write(guest: &Guest, text: &str) {
    guest.run(&format!("echo {text} | dd of=/dev/vda {AT} 2>/dev/null && sync"));
}

/// What a guest finds there.
fn read(guest: &Guest) -> String {
    let skip = AT.replace("seek", "skip").replace(" conv=notrunc", "");
    guest.run("echo 3 >/proc/sys/vm/drop_caches");
    guest.run(&format!("dd if=/dev/vda {skip} 2>/dev/null | head -n 1")).trim().to_owned()
}

/// The overlays of a running job, in the directory that `parent` has for them.
fn overlays(parent: &Path) -> Vec<PathBuf> {
    let own = parent.join(format!("mvpnet-{}", geteuid()));
    let mut found = Vec::new();
    for directory in fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path()) {
        assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
        found.extend(fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()));
    }
    found.sort();
    found
}

fn end(mut job: Running) -> Ended {
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    job.assert_all_halted();
    job
}

/// The job's guests, up, each of which has written its name to its disk.
fn written(job: Job) -> Running {
    let mut job = job.stays_up().start();
    job.wait_until_up();
    let guests = job.guests();
    guests.iter().for_each(|guest| write(guest, &guest.name()));
    for guest in &guests {
        assert_eq!(read(guest), guest.name(), "each has a disk of its own");
    }
    job
}

fn guests_write_to_their_own_disks(launcher: Launcher, disk: &'static str, flags: &[&str]) {
    let Some(_turn) = begin(&[Need::Guests, Need::Disk(disk), Need::Launcher(launcher)]) else { return };
    let image = Image::of(disk);
    let job = written(Job::new(launcher, 2).tiny().flags(["-i", &image.text()]).flags(flags));
    let overlays = overlays(&job.home().at("tmp"));
    assert_eq!(overlays.len(), 2, "{overlays:?}");
    // That they are gone then, the harness sees.
    end(job);
    assert!(image.is_as_it_was(), "{} was written to", image.text());
}

#[test]
fn guests_of_up_share_a_qcow2_image_that_is_only_read() {
    guests_write_to_their_own_disks(Launcher::Up, "tiny.qcow2", &[]);
}

#[test]
fn guests_of_mpirun_share_a_raw_image_with_overlay() {
    guests_write_to_their_own_disks(Launcher::Mpich, "tiny.img", &["--overlay"]);
}

#[test]
fn a_guest_boots_from_an_overlay_in_the_run_directory_on_a_larger_disk() {
    let needs = [Need::Guests, Need::Disk("tiny.qcow2"), Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let image = Image::of("tiny.qcow2");
    let job = Job::new(Launcher::Up, 1);
    let run = job.place("run");
    let flags = ["-i", &image.text(), "-m", "256", "--overlay", "--disk-size", "1G", "-r", &run];
    let mut job = job.flags(flags).stays_up().start();
    job.wait_until_up();
    assert_eq!(overlays(&job.home().at("run")).len(), 1);
    let guest = &job.guests()[0];
    assert_eq!(guest.run("cat /sys/block/vda/size").trim(), (1 << 21).to_string());
    end(job);
    assert!(image.is_as_it_was());
}

#[test]
fn overlays_go_when_all_of_up_is_killed() {
    let needs = [Need::Guests, Need::Disk("tiny.qcow2"), Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let image = Image::of("tiny.qcow2");
    let mut job = written(Job::new(Launcher::Up, 2).tiny().flags(["-i", &image.text()]));
    job.signal(Signal::SIGKILL);
    job.ended_within(TIDY);
    assert!(image.is_as_it_was());
}

#[test]
fn kept_overlays_have_what_guests_wrote_and_are_refused_on_another_image() {
    let needs = [Need::Guests, Need::Disk("tiny.img"), Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let image = Image::of("tiny.img");
    let kept = image.beside("kept");
    let flags = ["-i", &image.text(), "--persist", kept.to_str().unwrap()].map(str::to_owned);
    let job_named = |name: &str, job: Job| job.tiny().flags(flags.clone()).flags(["-j", name]);

    let mut first = written(job_named("lab", Job::new(Launcher::Up, 2)));
    let second = job_named("lab", Job::new(Launcher::Up, 1)).run();
    assert_ne!(second.code(), 0);
    second.assert_said("is in use by another job (process ");
    first.end_with(0);
    first.ended().assert_code(0);

    let mut again = job_named("lab", Job::new(Launcher::Up, 2)).stays_up().start();
    again.wait_until_up();
    for guest in again.guests() {
        assert_eq!(read(&guest), guest.name());
    }
    again.end_with(0);
    again.ended().assert_code(0);
    let mut names: Vec<_> =
        fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = ["tiny.lab.0.qcow2", "tiny.lab.0.qcow2.base.json"];
    assert_eq!(names, [expected, ["tiny.lab.1.qcow2", "tiny.lab.1.qcow2.base.json"]].concat());
    assert!(image.is_as_it_was());

    fs::remove_file(&image.path).unwrap();
    fs::write(&image.path, [&image.contents[..], &[0; 512]].concat()).unwrap();
    let refused = job_named("lab", Job::new(Launcher::Up, 2)).run();
    refused.assert_code(2);
    refused.assert_said("has been written to since");
}

#[test]
fn an_image_with_another_digest_is_refused_before_any_guest_starts() {
    let needs = [Need::Guests, Need::Disk("tiny.img"), Need::Launcher(Launcher::Mpich)];
    let Some(_turn) = begin(&needs) else { return };
    let image = Image::of("tiny.img");
    let right = sha256(&image.path);
    let wrong = "0123456789abcdef".repeat(4);
    let list = image.beside("SHA256SUMS");
    for launcher in [Launcher::Up, Launcher::Mpich] {
        let job = || {
            let cache = image.beside("cache");
            Job::new(launcher, 2).tiny().env("XDG_CACHE_HOME", cache).application(["/bin/true"])
        };
        let refused = job().flags(["-i", &format!("{},sha256={wrong},mvpctl=s", image.text())]).run();
        refused.assert_code(2);
        refused.assert_said(&format!("its sha256 should be {wrong}, and is {right}"));
        assert_eq!(refused.stderr().matches("should be").count(), 1, "{}", refused.stderr());
        assert!(!refused.stderr().contains("booted"), "{}", refused.stderr());

        let with_list = |text: &str| {
            fs::write(&list, text).unwrap();
            let flags = ["-i", &format!("{},mvpctl=s", image.text()), "--digests", list.to_str().unwrap()];
            job().flags(flags).run()
        };
        let refused = with_list(&format!("{right}  other.img\n"));
        refused.assert_code(2);
        refused.assert_said("has no sha256 or sha512 digest of tiny.img");
        with_list(&format!("{wrong}  tiny.img\n")).assert_code(2);
        with_list(&format!("{right} *tiny.img\n")).assert_code(0);
    }
}

#[test]
fn two_guests_of_a_host_do_not_write_to_one_image() {
    let needs = [Need::Guests, Need::Disk("tiny.img"), Need::Launcher(Launcher::Mpich)];
    let Some(_turn) = begin(&needs) else { return };
    let image = Image::of("tiny.img");
    fs::set_permissions(&image.path, fs::Permissions::from_mode(0o644)).unwrap();
    let refused =
        Job::new(Launcher::Mpich, 2).tiny().flags(["-i", &format!("{},mvpctl=", image.text())]).run();
    refused.assert_code(2);
    refused.assert_said("the guests of ranks 0 and 1 would write to it");
    refused.assert_said("mvpctl=o");
    assert!(image.is_as_it_was());
}

fn sha256(path: &Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}
