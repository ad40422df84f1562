//! What these tests need. What is missing is a skip that is said aloud, or a failure with `MVPNET_REQUIRE=all`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use mvpnet_seed::{AuthorizedKey, Cluster, JobKeys, JobSecret, MpiUser, Share, UserFiles, Volume, volume};
use mvpnet_switch::World;

/// The path of a program, or nothing and a skip that is said aloud.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found
}

/// Python with the modules of the Debian guest's cloud-init.
pub fn cloud_init() -> Option<Python> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("seed is a folder of the checkout");
    let place = std::env::var_os("MVPNET_DEBIAN").map(PathBuf::from);
    let modules = place.unwrap_or_else(|| checkout.join("target/debian")).join("cloud-init");
    if !modules.join("cloudinit").exists() {
        skip(&format!("{} is not there (testbeds/debian/build)", modules.display()));
        return None;
    }
    // Debian's own: the modules are built for it.
    if !Path::new("/usr/bin/python3").exists() {
        skip("/usr/bin/python3 is not there (Debian: python3)");
        return None;
    }
    Some(Python { modules })
}

/// See [`cloud_init`].
pub struct Python {
    modules: PathBuf,
}

impl Python {
    /// A call of it, to which arguments are added.
    pub fn call(&self) -> Command {
        let mut command = Command::new("/usr/bin/python3");
        command.env("PYTHONPATH", &self.modules);
        command
    }
}

/// Says what cannot be done here, or fails if everything must be.
fn skip(why: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    assert!(std::env::var("MVPNET_REQUIRE").as_deref() != Ok("all"), "{name} cannot run: {why}");
    // Past libtest, which shows what a test prints only when it fails.
    let _ = std::io::stderr().write_all(format!("SKIPPED {name}: {why}\n").as_bytes());
}

/// What a program prints, after it has succeeded.
pub fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// A cluster of which nothing more is asked.
pub fn plain(size: u32) -> Cluster {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEN0oZVtcsVvlKnX2Lz7zvJmr4AbyvbnCbcc0S7Zc2SB alice@laptop";
    Cluster {
        job: Some("demo".to_owned()),
        authorized_keys: vec![AuthorizedKey::parse(key).unwrap()],
        vcpus: vec![2; size as usize],
        ..Cluster::new(World::new(size).unwrap(), "alice")
    }
}

/// A cluster of which everything is asked.
pub fn with_everything() -> Cluster {
    Cluster {
        job: Some("it's \"a\" job".to_owned()),
        mpi_user: Some(MpiUser { name: "mpihpc".to_owned(), uid: 7777 }),
        nfs: Some("/home/mpihpc/shared".into()),
        shares: vec![Share { tag: "share0".to_owned(), guest_dir: "/mnt/data".into() }],
        packages: vec!["nfs-common".to_owned()],
        proxy: Some("http://192.168.1.2:3128".to_owned()),
        run: vec!["echo \"it: 'ran'\" # yes".to_owned(), "- on: {off}\n\ttrue".to_owned()],
        domains: vec!["cluster.example.org".to_owned()],
        ..plain(3)
    }
}

pub fn keys() -> JobKeys {
    JobKeys::of(&JobSecret::new([7; 32]))
}

/// The volume of a rank, without anything of the user's.
pub fn volume_of(cluster: &Cluster, rank: u32) -> Volume {
    let rank = cluster.world.rank(rank).unwrap();
    volume(cluster, &keys(), rank, &UserFiles::default()).unwrap()
}

/// Writes a volume's files below a directory.
pub fn unpack(volume: &Volume, directory: &Path) {
    for (path, contents) in &volume.files {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().expect("it is below the directory")).unwrap();
        std::fs::write(path, contents).unwrap();
    }
}
