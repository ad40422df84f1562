//! From flags to what a guest is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use mvpnet_seed::JobSecret;

use super::*;
use crate::args::{HostDefaults, Span};
use crate::command_line::{Invocation, parse};

fn options(flags: &str, user: Option<&str>) -> RankOptions {
    let words = format!("mvpnet {flags}");
    let Ok(Invocation::Launch(options)) = parse(words.split_whitespace().map(Into::into)) else {
        panic!("{flags}");
    };
    let host = HostDefaults { user: user.map(str::to_owned), ..HostDefaults::default() };
    options.for_rank(1, Span::whole(4), &host).unwrap()
}

fn configuration(flags: &str) -> Result<Configuration, String> {
    configuration_of("ann", flags)
}

fn configuration_of(user: &str, flags: &str) -> Result<Configuration, String> {
    let world = World::new(4).unwrap();
    let options = options(flags, Some(user));
    Configuration::of(&options, world.rank(1).unwrap(), world).map_err(|problem| problem.text)
}

fn recipe(flags: &str) -> Recipe {
    match configuration(flags) {
        Ok(Configuration::Ours(recipe)) => *recipe,
        other => panic!("{flags}: {other:?}"),
    }
}

fn briefing() -> Briefing {
    Briefing { secret: JobSecret::new([7; 32]), authorized_keys: Vec::new(), user: Some("bea".to_owned()) }
}

#[test]
fn guests_with_a_disk_are_told_unless_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("seed.img");
    fs::write(&image, "").unwrap();
    let with = |what: &Path| format!("--kernel k -c {}", what.display());
    assert!(matches!(configuration("-i x"), Ok(Configuration::Ours(_))));
    assert!(matches!(configuration("-i x -c none"), Ok(Configuration::None)));
    assert!(matches!(configuration("--kernel k"), Ok(Configuration::None)));
    assert!(matches!(configuration("--kernel k -i x"), Ok(Configuration::Ours(_))));
    assert!(matches!(configuration(&with(dir.path())), Ok(Configuration::Ours(_))));
    assert!(matches!(configuration(&with(&image)), Ok(Configuration::Image(path)) if path == image));
    let error = configuration(&format!("{} --ready cloud-init", with(&image))).unwrap_err();
    assert!(error.contains("--ready console:TEXT"), "{error}");
    assert!(configuration("-i x -c /none/such").unwrap_err().contains("No such file"));
}

#[test]
fn all_ranks_cpus_are_slots() {
    let recipe = recipe("-i x -v 2 -v 3:sockets=2,cores=4 --mtu 9000 -d lab.org -j 13");
    assert_eq!(recipe.cluster.vcpus, [2, 2, 2, 8]);
    assert_eq!((recipe.cluster.mtu, recipe.cluster.job.as_deref()), (9000, Some("13")));
    assert_eq!(
        (recipe.cluster.user.as_str(), &recipe.cluster.domains[..]),
        ("ann", &["lab.org".to_owned()][..])
    );
}

#[test]
fn a_broken_user_data_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("user-data"), "#cloud-config\nusers:\n  - name: [\n").unwrap();
    let error = configuration(&format!("-i x -c {}", dir.path().display())).unwrap_err();
    assert!(error.starts_with("--cloud-init /") && error.contains("user-data: line 4"), "{error}");
}

#[test]
fn users_that_guests_cannot_have_are_refused() {
    for (user, flags, part) in [
        ("DOM\\ann", "-i x", "with your login name `DOM\\ann`: name another with --user"),
        ("ann", "-i x --mpi-user ann", "--mpi-user ann: that is the login name"),
        ("ann", "-i x -u hpc --mpi-user hpc:1000", "--mpi-user hpc"),
    ] {
        let error = configuration_of(user, flags).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    assert!(configuration_of("DOM\\ann", "-i x -u ann").is_ok());
    // Whom nobody has to be made for.
    assert!(configuration_of("DOM\\ann", "--kernel k").is_ok());
}

#[test]
fn the_image_is_the_user_s_alone_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let make = recipe("-i x").host_seed().make;
    for _ in 0..2 {
        let path = make(&briefing().text(), dir.path()).unwrap();
        assert_eq!(path, dir.path().join("seed.1.img"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let image = fs::read(path).unwrap();
        assert!(image.windows(6).any(|window| window == Volume::LABEL.as_bytes()));
    }
    assert!(make("", dir.path()).unwrap_err().contains("briefing"));
    assert!(make(&briefing().text(), Path::new("/none/such")).unwrap_err().contains("/none/such/seed.1.img"));
}

#[test]
fn all_ranks_make_the_same_keys_of_a_briefing() {
    let volume = recipe("-i x").volume(&briefing()).unwrap();
    let file = |name: &str| {
        let (_, content) = volume.files.iter().find(|(path, _)| path == name).expect("it is there");
        String::from_utf8_lossy(content).into_owned()
    };
    let keys = JobKeys::of(&briefing().secret);
    assert!(
        file("mvpnet/known_hosts").contains(&keys.host_public(World::new(4).unwrap().rank(3).unwrap())[..60])
    );
}
