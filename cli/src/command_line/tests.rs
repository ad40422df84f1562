//! Whole command lines, as people write them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use mvpnet_qemu_driver::image::ImageSpec;
use mvpnet_qemu_driver::readiness::ReadyWhen;
use mvpnet_qemu_driver::{Accel, AccelRequest};
use mvpnet_switch::MacPolicy;
use proptest::prelude::*;

use super::*;
use crate::args::{
    Capture, CloudInit, GRACE, GRACE_EMULATED, HostDefaults, NetKind, RankOptions, Span, check,
    waits_for_cloud_init,
};
use crate::logs::Level;

fn words(line: &str) -> Vec<OsString> {
    std::iter::once("mvpnet").chain(line.split_whitespace()).map(OsString::from).collect()
}

fn launch(line: &str) -> Result<Options, Usage> {
    match parse(words(line)) {
        Ok(Invocation::Launch(options)) => Ok(options),
        Err(Stop::Usage(usage)) => Err(usage),
        other => panic!("{line}: {other:?}"),
    }
}

fn rank(line: &str, rank: u32, world: u32) -> Result<RankOptions, Usage> {
    launch(line)?.for_rank(rank, Span::whole(world), &HostDefaults::default())
}

fn images(specs: &[&str]) -> Vec<ImageSpec> {
    specs.iter().map(|spec| ImageSpec::parse(OsStr::new(spec)).unwrap()).collect()
}

/// The values of rank 0 of one.
fn only(line: &str) -> RankOptions {
    rank(line, 0, 1).unwrap_or_else(|usage| panic!("{line}: {usage}"))
}

fn refused(line: &str, world: u32) -> String {
    rank(line, 0, world).map(|options| panic!("{line}: {options:?}")).unwrap_err().to_string()
}

#[test]
fn the_first_documented_line_of_the_c_program_reads_as_it_stands() {
    let options = rank(
        "-C 1 -c ~/tmp/cloudinit -i IMG.img,mvpctl=s -l /tmp/mvp -M monwrap \
         -r /tmp/mvp -s /tmp/mvp -g -L 1 -D INFO -S INFO -n dgram app",
        1,
        2,
    )
    .unwrap();
    assert!(options.console_log && options.log && options.shared.global_stats && !options.wrapper_log);
    assert_eq!(options.cloud_init, Some(CloudInit::Path("~/tmp/cloudinit".into())));
    assert_eq!(options.images, images(&["IMG.img,mvpctl=s"]));
    assert_eq!(options.shared.log_dir, PathBuf::from("/tmp/mvp"));
    assert_eq!(options.shared.wrapper, Some("monwrap".into()));
    assert_eq!(options.shared.run_dir, Some("/tmp/mvp".into()));
    assert_eq!(options.shared.socket_dir, Some("/tmp/mvp".into()));
    assert_eq!((options.log_level, options.shared.stderr_level), (Level::Info, Level::Info));
    assert_eq!(options.shared.net, NetKind::Dgram);
    assert_eq!(options.shared.application, ["app"]);
}

#[test]
fn the_second_documented_line_of_the_c_program_reads_as_it_stands() {
    let options = rank(
        "-C 1 -c ~/cloud-seed -j 13 -l /tmp/mvpnet/log \
         -M monwrap -r /tmp/mvpnet/run -s /tmp/mvpnet/sock -t /tmp/mvpnet/tftpd -w 1 \
         -g -L 1 -D INFO -S INFO -i IMG.qcow2,mvpctl=s -n dgram",
        3,
        4,
    )
    .unwrap();
    assert_eq!(options.shared.job.as_deref(), Some("13"));
    assert_eq!(options.shared.tftp_dir, Some("/tmp/mvpnet/tftpd".into()));
    assert!(options.wrapper_log && options.shared.application.is_empty());
    assert_eq!(options.rank_log().path(), PathBuf::from("/tmp/mvpnet/log/mvpnet.13.3.log"));
}

#[test]
fn everything_has_its_documented_default() {
    let options = only("-i x");
    let shared = &options.shared;
    assert_eq!((options.memory_mib, options.smp.as_str(), options.cpu.as_deref()), (4096, "1", None));
    assert_eq!((shared.net, shared.accel, shared.mtu()), (NetKind::Auto, AccelRequest::Auto, 1500));
    assert_eq!((shared.mac_policy, options.ready), (MacPolicy::Learn, ReadyWhen::Ssh));
    assert_eq!(
        (options.log_level, shared.stderr_level, options.log_buffer),
        (Level::Warn, Level::Crit, 4096)
    );
    assert_eq!(
        (shared.qemu.as_os_str(), shared.log_dir.as_path()),
        (OsStr::new("qemu-system-x86_64"), "/tmp".as_ref())
    );
    assert_eq!((shared.ssh_timeout, shared.grace, options.capture), (None, None, None));
    assert_eq!((shared.grace(Accel::Kvm), shared.grace(Accel::Tcg)), (GRACE, GRACE_EMULATED));
    assert!(!(options.console_log || options.log || options.wrapper_log || shared.global_stats));
    assert!(!(shared.app_output || shared.exit_on_eof || shared.ignore_shutdown_address) && shared.progress);
}

#[test]
fn every_flag_has_its_long_name_and_reads_the_same_attached_or_apart() {
    for (short, long, value) in [
        ("-c", "--cloud-init", "seed"),
        ("-j", "--job", "j"),
        ("-n", "--net", "dgram"),
        ("-k", "--kvm", "0"),
        ("-m", "--memory", "512M"),
        ("-p", "--cpu", "max,+x2apic"),
        ("-v", "--smp", "2,sockets=1"),
        ("-M", "--wrapper", "w"),
        ("-q", "--qemu", "/opt/qemu"),
        ("-r", "--run-dir", "/r"),
        ("-s", "--socket-dir", "/s"),
        ("-t", "--tftp-dir", "/t"),
        ("-u", "--user", "joe-2"),
        ("-d", "--domain", "lab.org"),
        ("-l", "--log-dir", "/l"),
        ("-C", "--console-log", "on"),
        ("-L", "--log", "1"),
        ("-w", "--wrapper-log", "1"),
        ("-B", "--log-buffer", "64K"),
        ("-D", "--log-level", "debug"),
        ("-S", "--stderr-level", "NOTE"),
        ("-X", "--log-filter", "MPI=DBG,switch=INFO"),
        ("-T", "--ssh-timeout", "300"),
    ] {
        let plain = only("-i x");
        let apart = only(&format!("-i x {short} {value}"));
        assert_ne!(apart, plain, "{short}");
        for same in [
            format!("-i x {short}{value}"),
            format!("{long} {value} -ix"),
            format!("{long}={value} --image=x"),
            format!("-EE {short} {value} -i x").replace("-EE ", ""),
        ] {
            assert_eq!(only(&same), apart, "{same}");
        }
    }
    for (short, long) in [
        ("-g", "--global-stats"),
        ("-E", "--exit-on-eof"),
        ("-I", "--ignore-shutdown-address"),
        ("-O", "--app-output"),
    ] {
        let set = only(&format!("-i x {short}"));
        assert_ne!(set, only("-i x"), "{short}");
        assert_eq!(only(&format!("{long} -i x {long}")), set, "{long}");
    }
    assert_eq!(only("-gEL1 -ix"), only("-g -E -L 1 -i x"));
}

#[test]
fn the_last_of_a_flag_that_holds_one_value_counts() {
    assert_eq!(only("-j a -i x -j b").shared.job.as_deref(), Some("b"));
    assert_eq!(only("-m 1G -i x -m 2G").memory_mib, 2048);
}

#[test]
fn flags_end_at_the_application() {
    for (line, application) in [
        ("-i x app -i y -m 5 --help", vec!["app", "-i", "y", "-m", "5", "--help"]),
        ("-i x -- app -g", vec!["app", "-g"]),
        ("-i x app -- -g", vec!["app", "--", "-g"]),
        ("-i x up -N 4", vec!["up", "-N", "4"]),
        ("-i x -- up", vec!["up"]),
        ("-i x -- --odd", vec!["--odd"]),
        ("-i x help", vec!["help"]),
    ] {
        let options = only(line);
        assert_eq!(options.shared.application, application, "{line}");
        assert_eq!(options.images, images(&["x"]), "{line}");
    }
}

#[test]
fn up_is_a_subcommand_as_the_first_word_only() {
    let Ok(Invocation::Up { reach, options }) = parse(words("up -N 4 -i x -m 1:512 up --fast")) else {
        panic!("not up");
    };
    assert_eq!((reach.span, reach.tunnel), (Span::whole(4), None));
    assert_eq!(options.shared.application, ["up", "--fast"]);
    let host = HostDefaults::default();
    assert_eq!(options.for_rank(1, Span::whole(4), &host).unwrap().memory_mib, 512);
    for (line, part) in [
        ("up -i x", "-N 4"),
        ("up -N 0 -i x", "between 1 and 16777213 guests"),
        ("up -N x -i x", "a number of guests"),
        ("up -n 4 -i x", "-N after `mvpnet up`"),
    ] {
        let Err(Stop::Usage(usage)) = parse(words(line)) else { panic!("{line}") };
        assert!(usage.to_string().contains(part), "{line}: {usage}");
    }
}

#[test]
fn rank_lists_choose_ranks_and_later_values_override() {
    let line = "-i x -m 1G -m 0,2-3:2G -m 3-:3G -C -1:1 -D 1:DBG --ready 0:console:login: --mtu 9000";
    let of = |rank_| rank(line, rank_, 6).unwrap();
    assert_eq!([0, 1, 2, 3, 5].map(|rank| of(rank).memory_mib), [2048, 1024, 2048, 3072, 3072]);
    assert_eq!([0, 1, 2].map(|rank| of(rank).console_log), [true, true, false]);
    assert_eq!((of(0).log_level, of(1).log_level), (Level::Warn, Level::Dbg));
    assert_eq!(of(0).ready, ReadyWhen::Console("login:".to_owned()));
    assert_eq!(of(1).ready, ReadyWhen::Ssh);
}

#[test]
fn every_image_adds_a_disk_to_the_ranks_that_it_names() {
    let line = "-i 0:server.img -i 1-:client.img,mvpctl=s -i 0:data.img -i shared:iso";
    let of = |rank_| rank(line, rank_, 3).unwrap().images;
    assert_eq!(of(0), images(&["server.img", "data.img", "shared:iso"]));
    assert_eq!(of(2), images(&["client.img,mvpctl=s", "shared:iso"]));
    assert_eq!(only("-i ./0:x").images, images(&["./0:x"]));
}

#[test]
fn overlays_are_the_default_under_up_without_a_run_directory_and_asked_for_elsewhere() {
    let up = |line: &str| match parse(words(line)) {
        Ok(Invocation::Up { options, .. }) => options.shared,
        other => panic!("{line}: {other:?}"),
    };
    assert!(up("up -N 2 -i x").overlay && !up("up -N 2 -i x -r /r").overlay);
    assert!(up("up -N 2 -i x -r /r --overlay").overlay && up("up -N 2 -i x -r /r --persist /k").overlay);
    assert!(!only("-i x").shared.overlay && only("-i x --overlay").shared.overlay);
    let kept = only("-i x --persist /k --digests SHA256SUMS").shared;
    assert_eq!((kept.overlay, kept.persist), (true, Some("/k".into())));
    assert_eq!(kept.digests, Some("SHA256SUMS".into()));
}

#[test]
fn disks_have_their_size_per_rank_and_with_a_unit() {
    let of = |rank_| rank("-i x --disk-size 20G --disk-size 1:512M", rank_, 3).unwrap().disk_size;
    assert_eq!([of(0), of(1), of(2)], [Some(20 << 30), Some(512 << 20), Some(20 << 30)]);
    assert_eq!(only("-i x").disk_size, None);
    for (line, part) in [
        ("-i x --disk-size 20", "--disk-size 20: expected a size with a unit"),
        ("-i x --disk-size big", "expected a size with a unit"),
        ("-i x --disk-size 1k", "between 1M and 1024T"),
        ("-i x --disk-size 3000T", "between 1M and 1024T"),
        ("-i x --disk-size 1048577b", "whole KiB"),
        ("-i x --disk-size 7:2G", "--disk-size 7: there is no rank 7"),
        ("-i x --persist --overlay", "--persist"),
        ("-i x,sha256=abc", "sha256 is 64 hexadecimal digits, not `abc`"),
    ] {
        let said = refused(line, 2);
        assert!(said.contains(part), "{line}: {said}");
    }
}

#[test]
fn filters_add_up_per_rank() {
    let of = |rank_| rank("-i x -X node=DBG -X 1:switch=INFO", rank_, 2).unwrap().log_filter;
    assert_eq!(of(0).level_for("mvpnet_switch"), None);
    assert_eq!(of(1).level_for("mvpnet_switch"), Some(Level::Info));
    assert_eq!(of(1).level_for("mvpnet_node"), Some(Level::Dbg));
}

#[test]
fn a_kernel_needs_no_image() {
    let options = only("--kernel k --initrd i --append console=ttyS0 --append --quiet");
    assert_eq!(options.kernel, Some("k".into()));
    assert_eq!(options.append.as_deref(), Some("--quiet"));
    let of = |rank_| rank("--kernel 0:k -i 1:x", rank_, 2);
    assert!(of(0).is_ok() && of(1).is_ok());
}

#[test]
fn times_captures_and_the_like_arrive() {
    let options = rank("-i x --grace 5 -T 2m --capture 0:- --capture 1-:caps --no-progress", 0, 2).unwrap();
    assert_eq!(options.shared.grace(Accel::Tcg), Duration::from_secs(5));
    assert_eq!(options.shared.ssh_timeout, Some(Duration::from_secs(120)));
    assert_eq!(options.capture, Some(Capture::Stdout));
    assert!(!options.shared.progress);
    let line = "-i x --capture 0:a.pcapng --capture 1:b.pcapng";
    assert_eq!(rank(line, 1, 2).unwrap().capture, Some(Capture::Path("b.pcapng".into())));
}

#[test]
fn what_guests_are_told_is_read() {
    let line = "-i x --mpi-user mpihpc --nfs /home/mpi/shared --share 1:a --share b:/mnt/b,ro --packages g++,make \
                --packages gdb --proxy http://p:3128 --run date --run sync --keys k --authorized-keys a --no-exec";
    let options = rank(line, 1, 2).unwrap();
    let guests = &options.shared.guests;
    assert_eq!(guests.mpi_user.as_ref().map(|user| (user.name.as_str(), user.uid)), Some(("mpihpc", 7777)));
    assert_eq!(guests.nfs, Some("/home/mpi/shared".into()));
    assert_eq!(
        (&guests.packages[..], &guests.run[..]),
        (&["g++", "make", "gdb"].map(String::from)[..], &["date", "sync"].map(String::from)[..])
    );
    assert_eq!((guests.keys.clone(), guests.authorized_keys.clone()), (Some("k".into()), Some("a".into())));
    assert!(!guests.exec && only("-i x").shared.guests.exec);
    let hosts: Vec<_> =
        options.shares.iter().map(|share| (share.host_dir.to_str().unwrap(), share.read_only)).collect();
    assert_eq!(hosts, [("a", false), ("b", true)]);
    assert_eq!(rank(line, 0, 2).unwrap().shares.len(), 1);
}

#[test]
fn a_guest_is_told_what_it_can_hear() {
    let options = launch("-i 0-1:x --kernel 2-:k -c 1:none -c 3:/").unwrap();
    assert_eq!([0, 1, 2, 3].map(|rank| options.is_told(rank)), [true, false, false, true]);
    assert!(rank("-i x --ready cloud-init", 0, 1).is_ok_and(|options| waits_for_cloud_init(&options.ready)));
    assert!(rank("-i 0:x --kernel 1:k --nfs /shared", 1, 2).is_ok());
}

#[test]
fn the_host_fills_in_what_flags_leave_open() {
    let host = HostDefaults {
        domains: vec!["a.org".to_owned()],
        user: Some("joe-x".to_owned()),
        ..HostDefaults::default()
    };
    let options = launch("-i x").unwrap().for_rank(0, Span::whole(1), &host).unwrap();
    assert_eq!((options.shared.user, options.shared.domains), (host.user.clone(), host.domains.clone()));
    let options =
        launch("-i x -u ann -d b.org -d c.org").unwrap().for_rank(0, Span::whole(1), &host).unwrap();
    assert_eq!(options.shared.user.as_deref(), Some("ann"));
    assert_eq!(options.shared.domains, ["b.org", "c.org"]);
}

#[test]
fn wrong_usage_says_what_to_do() {
    for (line, message) in [
        (
            "",
            "no disk image: name one with -i IMAGE, or a kernel with --kernel FILE; `mvpnet --help` lists the subcommands",
        ),
        (
            "app",
            "no disk image: name one with -i IMAGE, or a kernel with --kernel FILE; `mvpnet --help` lists the subcommands",
        ),
        (
            "-m 512 foo -i x.img",
            "-i stands after the application's name (`foo`), where flags belong to the application: \
             move it in front",
        ),
        (
            "foo --image=x.img",
            "--image stands after the application's name (`foo`), where flags belong to the \
             application: move it in front",
        ),
        ("-i 0-2:x", "rank 3 has no disk image: name one with -i 3:IMAGE, or for all ranks with -i IMAGE"),
        ("-i x -m 0,7:1G", "--memory 0,7: there is no rank 7 in this job of 4 ranks (0 to 3)"),
        ("-i x -m 4-:1G", "--memory 4-: there is no rank 4 in this job of 4 ranks (0 to 3)"),
        ("-i x -m 3-1:1G", "--memory 3-1:1G: the rank list `3-1` runs backwards at `3-1`"),
        ("-i x -m 4Q", "--memory 4Q: expected a size: MiB as a plain number, or with a unit like 512M or 4G"),
        ("-i x.img,0", "image `x.img,0`: `0` is not name=value (a comma in a file name is written `,,`)"),
        ("-i x -L 2", "--log 2: expected 1 (on) or 0 (off)"),
        ("-i -g", "--image -g: needs a value, and this looks like a flag (write ./-g if it is a file)"),
        ("-i x -C 0:", "--console-log 0:: must not be empty"),
        ("-i x -j a/b", "--job a/b: expected a name without `/`, since it goes into file names"),
        ("-i x --initrd i", "rank 0 has --initrd but no kernel: name one with --kernel FILE"),
        ("-i x --imag y", "there is no flag --imag; a similar one is --image\ntry `mvpnet --help`"),
        ("-Z -i x", "there is no flag -Z\ntry `mvpnet --help`"),
        ("-i x -j", "--job <NAME> needs a value\ntry `mvpnet --help`"),
        ("-i x --global-stats=1", "--global-stats takes no value\ntry `mvpnet --help`"),
        (
            "-i x -c none --ready cloud-init",
            "--ready cloud-init: rank 0 has no configuration of mvpnet's that could say when it is done (-c none, or no disk)",
        ),
        (
            "--kernel k --run date",
            "--run is for cloud-init in guests, but no guest of this job has a configuration of mvpnet's: each has -c none or \
             no disk",
        ),
        ("-i x --share a:/x --share 2:b:/x", "rank 2 has two --share at /x"),
        ("-i x --share 4:a", "--share 4: there is no rank 4 in this job of 4 ranks (0 to 3)"),
        (
            "-i x --mpi-user hpc:0",
            "--mpi-user hpc:0: expected a user id that no user of the system has, from 1000 on, like mpihpc:7777",
        ),
        (
            "-i x -u 1st",
            "--user 1st: expected a login name: a letter, then letters, digits, `_`, `-` and `.`, 32 at most",
        ),
        (
            "-i x --capture a.pcapng",
            "--capture a.pcapng would be written by ranks 0 and 1: name a directory, or a file for one \
             rank (--capture 0:a.pcapng)",
        ),
        (
            "-i x -O --capture 0:-",
            "--capture - and --app-output (-O) both write to standard output: capture to a file or a pipe",
        ),
    ] {
        assert_eq!(refused(line, 4), message, "{line}");
    }
}

#[test]
fn a_wrong_command_line_is_referred_to_the_help_of_its_subcommand() {
    for (line, help) in [
        ("--nope", "mvpnet --help"),
        ("up --nope", "mvpnet up --help"),
        ("sim --sed 1", "mvpnet sim --help"),
        ("fault --jobb x", "mvpnet fault --help"),
    ] {
        let words = std::iter::once("mvpnet").chain(line.split_whitespace()).map(OsString::from);
        let Err(Stop::Usage(usage)) = parse(words) else { panic!("{line} is no wrong usage") };
        assert!(usage.to_string().ends_with(&format!("\ntry `{help}`")), "{line}: {usage}");
    }
}

#[test]
fn an_application_that_cannot_be_found_is_refused_before_anything_starts() {
    let shared = only("-i x foo-that-is-not-there -i y.img").shared;
    let usage = check::application(&shared, Some(OsStr::new("/usr/bin"))).unwrap_err();
    assert_eq!(
        usage.to_string(),
        "the application `foo-that-is-not-there` cannot be found on PATH; leave it out to keep the guests up \
         until the job is stopped (-i behind its name belongs to it, not to mvpnet)"
    );
    assert!(check::application(&only("-i x").shared, None).is_ok());
    assert!(check::application(&only("-i x /bin/sh").shared, None).is_ok());
}

#[test]
fn a_wrapper_that_is_not_there_is_a_warning_and_qemu_an_error() {
    let shared = only("-i x -M monwrap-that-is-not-there -q /no/qemu").shared;
    let warning = check::wrapper_warning(&shared, Some(OsStr::new("/usr/bin"))).unwrap();
    assert!(warning.contains("cannot be found on PATH: going on without"), "{warning}");
    assert_eq!(check::wrapper_warning(&only("-i x -M sh").shared, None), None);
    let error = check::qemu(&shared, None).unwrap_err().to_string();
    assert!(error.starts_with("qemu (`/no/qemu`) cannot be found: install it"), "{error}");
}

#[test]
fn directories_are_made_and_the_one_of_the_sockets_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let line =
        format!("-i x -r {} -s {} -l {} --capture {}", at("run/a"), at("sock/a"), at("log"), at("caps"));
    only(&line).make_directories().unwrap();
    only(&line).make_directories().unwrap();
    for name in ["run/a", "log", "caps"] {
        assert!(dir.path().join(name).is_dir(), "{name}");
    }
    let mode = dir.path().join("sock/a").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let usage = only("-i x -r /proc/none/x").make_directories().unwrap_err();
    assert!(usage.to_string().starts_with("--run-dir /proc/none/x: "), "{usage}");
    assert_eq!(usage.rank(), Some(0));
}

#[test]
fn paths_and_images_may_hold_any_bytes() {
    let odd = OsString::from_vec(b"caf\xe9.img,mvpctl=s".to_vec());
    let line = ["mvpnet".into(), "-i".into(), odd.clone()];
    let Ok(Invocation::Launch(options)) = parse(line) else { panic!("refused") };
    assert_eq!(
        options.for_rank(0, Span::whole(1), &HostDefaults::default()).unwrap().images,
        [ImageSpec::parse(&odd).unwrap()]
    );
}

fn shown(line: &str) -> String {
    match parse(words(line)) {
        Err(Stop::Show(text)) => text.render().to_string(),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_version_says_what_it_was_built_with() {
    assert!(shown("-V").starts_with("mvpnet "));
    let long = shown("--version");
    assert!(long.contains("\nMPI: ") && long.contains("\nbuild: "), "{long}");
}

/// As on a terminal of 100 columns, whatever the test runs on.
fn help(subcommand: Option<&str>, long: bool) -> String {
    let mut command = CommandLine::command().term_width(100);
    command.build();
    let command = match subcommand {
        Some(name) => command.find_subcommand_mut(name).expect("it is one"),
        None => &mut command,
    };
    if long { command.render_long_help() } else { command.render_help() }.to_string()
}

#[test]
fn help_teaches() {
    insta::assert_snapshot!("help_short", help(None, false));
    insta::assert_snapshot!("help_long", help(None, true));
    insta::assert_snapshot!("help_up_short", help(Some("up"), false));
    assert!(matches!(parse(words("-h")), Err(Stop::Show(_))));
    assert!(matches!(parse(words("up --help")), Err(Stop::Show(_))));
}

#[test]
fn the_definition_of_the_flags_is_sound() {
    CommandLine::command().debug_assert();
}

fn strange_words() -> impl Strategy<Value = Vec<OsString>> {
    let known = prop::sample::select(vec![
        "-i",
        "x",
        "up",
        "-N",
        "2",
        "-m",
        "0-1:2G",
        "-5:",
        "--",
        "-",
        "--capture",
        "--help",
        "help",
        "-gL1",
        "-X",
        "MPI=DBG",
        "--ready",
        "console:x",
        "app",
        "-L",
        "--log=1",
        "-ix",
        "9-1:x",
        "",
        "--mtu",
        "--share",
        "0:a:/b,ro",
        "--mpi-user",
        "hpc:1000",
        "-c",
        "none",
        "--ready",
        "cloud-init",
        "-B",
        "-T",
    ]);
    let word = prop_oneof![
        3 => known.prop_map(OsString::from),
        1 => ".*".prop_map(OsString::from),
        1 => "-{0,2}[a-zA-Z]{0,8}=?[-0-9,:]{0,6}".prop_map(OsString::from),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(OsString::from_vec),
    ];
    prop::collection::vec(word, 0..10)
}

proptest! {
    #[test]
    fn no_command_line_is_too_strange(words in strange_words(), world in 1u32..6) {
        if let Ok(Invocation::Launch(options) | Invocation::Up { options, .. }) = parse(words) {
            let _ = options.for_rank(0, Span::whole(world), &HostDefaults::default());
        }
    }

    #[test]
    fn all_ranks_come_to_the_same_error(words in strange_words(), world in 2u32..6) {
        if let Ok(Invocation::Launch(options)) = parse(words) {
            let of = |rank| options.for_rank(rank, Span::whole(world), &HostDefaults::default());
            prop_assert_eq!(of(0).err().map(|e| e.to_string()), of(world - 1).err().map(|e| e.to_string()));
        }
    }
}
