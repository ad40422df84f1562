//! From nothing but the image and flags, under MPICH's mpirun: logins in all directions, names, both MPIs over the
//! cluster's network alone, NFS, a directory of the host, copies, programs that run commands on many guests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{COMMAND, Cluster, RING_C, RING_PY, contains, is, printed, quiet, sorted};
use crate::harness::wait::run;
use crate::harness::{Job, Launcher, Need, begin};

const USER: &str = "tester";
const MPI_USER: Option<&str> = Some("mpihpc");
const SHARED: &str = "/home/mpihpc/shared";
/// Packets on the user network that are not the test's: DHCP, what routers announce, the end of an ssh session.
const NOISE: u64 = 20;

#[test]
fn an_image_and_flags_make_a_cluster_with_logins_mpi_and_nfs() {
    let launcher = Launcher::Mpich;
    let needs = [Need::Debian, Need::Launcher(launcher), Need::Wireshark, Need::ManyHosts];
    let Some(_turn) = begin(&needs) else { return };
    let job = Job::new(launcher, 2).debian().stays_up();
    let (capture, host) = (job.place("log"), job.place("out/host"));
    fs::create_dir(&host).unwrap();
    fs::set_permissions(&host, PermissionsExt::from_mode(0o777)).unwrap();
    fs::write(format!("{host}/from-host"), "of the host\n").unwrap();
    let job = job
        .flags(["-u", USER, "--mpi-user", "mpihpc:7777", "--nfs", SHARED, "--capture", &capture])
        .flags(["--share", &format!("{host}:/mnt/host"), "--ready", "cloud-init"]);
    let mut cluster = Cluster::boot(job, launcher);

    cluster.check("the host enters as the user, who is root by sudo", enters_as_the_user);
    cluster.check("nothing of Python was compiled while the guests booted", python_was_compiled);
    cluster.check("guests enter guests as user and as root, unasked", guests_enter_guests);
    cluster.check("names are as the manual says", names_are_there);
    cluster.check("rank 0 exports a directory and rank 1 has mounted it", nfs_is_there);
    cluster.check("programs are compiled in the shared directory", programs_are_compiled);
    for (name, command) in [
        ("MPICH", "mpirun.mpich -f /etc/hosts.mpi -n 2"),
        ("MPICH over ssh", "mpirun.mpich -launcher-exec /usr/bin/ssh -f /etc/hosts.mpi -n 2"),
        ("OpenMPI", "mpirun.openmpi --hostfile /etc/hosts.openmpi -n 2"),
        ("OpenMPI over ssh", "mpirun.openmpi --mca plm_rsh_agent ssh --hostfile /etc/hosts.openmpi -n 2"),
    ] {
        let check = format!("{name} runs a program in both guests");
        cluster.check(&check, |cluster| runs_in_both(cluster, command));
    }
    cluster.check("MPICH's messages take the cluster's network", |cluster| {
        takes_the_cluster_network(cluster, "mpirun.mpich -f /etc/hosts.mpi -n 2 ./ring.mpich 40")
    });
    cluster.check("OpenMPI's messages take the cluster's network", |cluster| {
        takes_the_cluster_network(
            cluster,
            "mpirun.openmpi --hostfile /etc/hosts.openmpi -n 2 ./ring.openmpi 40",
        )
    });
    cluster.check("mpi4py runs in both guests", |cluster| {
        let script =
            format!("cd {SHARED} && mpirun.openmpi --hostfile /etc/hosts.openmpi -n 2 python3 ring.py");
        is(&*printed(cluster.ssh(MPI_USER, "n0000", &script))?, "python: n0000 n0001\n")
    });
    cluster.check("pdsh and parallel-ssh reach the guests from a guest", many_from_a_guest);
    cluster.check("pdsh and parallel-ssh reach the guests from the host", many_from_the_host);
    cluster.check("a directory of the host is read and written", host_directory);
    cluster.check("files are copied to and from guests", copies);
    let job = cluster.end();

    let file = job.home().at(format!("log/capture.{}.0.pcapng", job.home().name));
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file).args(["-T", "fields", "-e", "ip.src", "-e", "ip.dst", "-Y"]);
    let between = "tcp && !(tcp.port == 22) && !(tcp.port == 2049)";
    let said = run(tshark.arg(between), COMMAND);
    let packets = sorted(&said.stdout);
    let mut ends = packets.clone();
    ends.dedup();
    assert_eq!(ends, ["10.0.0.1\t10.0.0.2", "10.0.0.2\t10.0.0.1"], "ends of MPI's connections");
    assert!(packets.len() > 200, "MPI's packets in the capture: {}", packets.len());
}

fn enters_as_the_user(cluster: &Cluster) -> Result<(), String> {
    for guest in ["0", "n0001"] {
        let name = if guest == "0" { "n0000" } else { guest };
        let said = quiet(cluster.ssh(None, guest, "id -un; sudo -n id -un; hostname"))?;
        is(&*said, &*format!("{USER}\nroot\n{name}\n"))?;
    }
    Ok(())
}

/// What the image has is older than this; byte code that does not fit its source is made again, and is younger.
fn python_was_compiled(cluster: &Cluster) -> Result<(), String> {
    let younger = "find /usr/lib/python3* -name '*.pyc' -newermt @1700000000 | head -n 3";
    is(&*quiet(cluster.ssh(None, "0", younger))?, "")
}

fn guests_enter_guests(cluster: &Cluster) -> Result<(), String> {
    let who = "'id -un; hostname'";
    let script =
        format!("ssh n0001 {who} && ssh 10.0.0.2 id -un && ssh root@n0001 {who} && sudo -n ssh n0001 {who}");
    let said = quiet(cluster.ssh(None, "0", &script))?;
    is(&*said, &*format!("{USER}\nn0001\n{USER}\nroot\nn0001\nroot\nn0001\n"))?;
    let said = quiet(cluster.ssh(MPI_USER, "1", &format!("id -u; ssh n0000 {who}")))?;
    is(&*said, "7777\nmpihpc\nn0000\n")
}

fn names_are_there(cluster: &Cluster) -> Result<(), String> {
    for guest in ["0", "1"] {
        let said = quiet(cluster.ssh(
            None,
            guest,
            "cat /etc/hosts.mpi /etc/hosts.openmpi /etc/hosts; cat /sys/class/net/mvp0/mtu",
        ))?;
        contains(
            &said,
            &["n0000\nn0001\n", "n0000 slots=1\nn0001 slots=1\n", "\n#wsize: 2\n10.0.0.1", "1500\n"],
        )?;
        let names = said.lines().filter(|line| line.starts_with("10.0.0."));
        let names: Vec<Vec<&str>> = names.map(|line| line.split_whitespace().take(2).collect()).collect();
        is(&names, &vec![vec!["10.0.0.1", "n0000"], vec!["10.0.0.2", "n0001"]])?;
    }
    Ok(())
}

fn nfs_is_there(cluster: &Cluster) -> Result<(), String> {
    let said = quiet(cluster.ssh(
        MPI_USER,
        "1",
        &format!("findmnt -n -o FSTYPE,SOURCE {SHARED}; echo one >{SHARED}/of-1"),
    ))?;
    is(&said.split_whitespace().collect::<Vec<_>>(), &vec!["nfs4", &*format!("10.0.0.1:{SHARED}")])?;
    is(
        &*quiet(cluster.ssh(MPI_USER, "0", &format!("cat {SHARED}/of-1; stat -c %u {SHARED}/of-1")))?,
        "one\n7777\n",
    )
}

fn programs_are_compiled(cluster: &Cluster) -> Result<(), String> {
    let script = format!(
        "cd {SHARED} && cat >ring.c <<'END' && cat >ring.py <<'END2' && \
         mpicc.mpich -o ring.mpich ring.c && mpicc.openmpi -o ring.openmpi ring.c\n{RING_C}END\n{RING_PY}END2\n"
    );
    quiet(cluster.ssh(MPI_USER, "0", &script))?;
    let seen = quiet(cluster.ssh(MPI_USER, "1", &format!("cat {SHARED}/ring.c")))?;
    is(&*seen, RING_C)
}

fn runs_in_both(cluster: &Cluster, mpirun: &str) -> Result<(), String> {
    let said = printed(cluster.ssh(MPI_USER, "0", &format!("{mpirun} hostname")))?;
    is(&sorted(&said), &vec!["n0000", "n0001"])
}

/// Packets that crossed both interfaces of both guests while the program ran, counted by the guests.
fn takes_the_cluster_network(cluster: &Cluster, mpirun: &str) -> Result<(), String> {
    let count = "cd /sys/class/net; cat {nat0,mvp0}/statistics/{rx,tx}_packets";
    // Nothing is printed meanwhile: that would cross the user network.
    let script = format!(
        "cd {SHARED}; there() {{ ssh n0001 bash -c \"'{count}'\"; }}\n\
         here() {{ (bash -c '{count}'); }}\n\
         before=$(here; there); said=$({mpirun} 2>&1); code=$?; after=$(here; there)\n\
         echo $before; echo $after; echo \"$said\"; exit $code"
    );
    let said = printed(cluster.ssh(MPI_USER, "0", &script))?;
    contains(&said, &["ring: 40 rounds, sum 40 of 40, on n0000 n0001"])?;
    let mut lines = said.lines();
    let mut counts =
        || -> Option<Vec<u64>> { lines.next()?.split_whitespace().map(|word| word.parse().ok()).collect() };
    let (Some(before), Some(after)) = (counts(), counts()) else { return Err(said) };
    let grown: Vec<u64> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
    let [nat0, mvp0] = [[0, 1, 4, 5], [2, 3, 6, 7]].map(|places| places.map(|place| grown[place]));
    if nat0.iter().any(|packets| *packets > NOISE) || mvp0.iter().any(|packets| *packets < 80) {
        return Err(format!("packets on the user network {nat0:?}, on the cluster's {mvp0:?}"));
    }
    Ok(())
}

fn many_from_a_guest(cluster: &Cluster) -> Result<(), String> {
    let pdsh = quiet(cluster.ssh(None, "0", "pdsh -w n000[0-1] hostname"))?;
    is(&sorted(&pdsh), &vec!["n0000: n0000", "n0001: n0001"])?;
    let pssh = quiet(cluster.ssh(None, "0", "parallel-ssh -h /etc/hosts.mpi -t 120 -i hostname"))?;
    contains(&pssh, &["[SUCCESS] n0000\nn0000\n", "[SUCCESS] n0001\nn0001\n"])
}

fn many_from_the_host(cluster: &Cluster) -> Result<(), String> {
    let config = printed(cluster.mvpnet("ssh-config", ["--path"]))?;
    let option = format!("-F {}", config.trim_end());
    let mut pdsh = Command::new("pdsh");
    pdsh.args(["-R", "ssh", "-w", "n0000,n0001", "hostname"]).env("PDSH_SSH_ARGS_APPEND", &option);
    is(&sorted(&printed(run(&mut pdsh, COMMAND))?), &vec!["n0000: n0000", "n0001: n0001"])?;
    let mut pssh = Command::new("parallel-ssh");
    pssh.args(["-H", "n0000", "-H", "n0001", "-t", "120", "-x", &option, "-i", "hostname"]);
    contains(&printed(run(&mut pssh, COMMAND))?, &["[SUCCESS] n0000\nn0000\n", "[SUCCESS] n0001\nn0001\n"])
}

fn host_directory(cluster: &Cluster) -> Result<(), String> {
    let said = quiet(cluster.ssh(None, "0", "cat /mnt/host/from-host; echo of the guest >/mnt/host/from-0"))?;
    is(&*said, "of the host\n")?;
    is(&*quiet(cluster.ssh(None, "1", "cat /mnt/host/from-0"))?, "of the guest\n")?;
    let seen = fs::read_to_string(cluster.place("out/host/from-0")).map_err(|error| error.to_string())?;
    is(&*seen, "of the guest\n")
}

fn copies(cluster: &Cluster) -> Result<(), String> {
    let [there, back] = ["out/there", "out/back"].map(|part| cluster.place(part).display().to_string());
    fs::write(&there, RING_C).map_err(|error| error.to_string())?;
    quiet(cluster.mvpnet("cp", [&there, "all:/tmp/copied"]))?;
    quiet(cluster.mvpnet("cp", ["1:/tmp/copied", &back]))?;
    is(&fs::read_to_string(&back).unwrap_or_default(), &RING_C.to_owned())
}
