//! No sshd in any guest, under OpenMPI's mpirun: commands and MPI go through the guests' agents. The user's own NoCloud
//! directory turns sshd off, has a user with an RSA key, and is merged with what the job says.

use std::fs;
use std::process::Command;

use super::{COMMAND, Cluster, contains, is, printed, sorted};
use crate::harness::wait::run;
use crate::harness::{Job, Launcher, Need, begin};

#[test]
fn guests_without_sshd_run_commands_and_mpi_by_their_agents() {
    let launcher = Launcher::OpenMpi;
    let Some(_turn) = begin(&[Need::Debian, Need::Launcher(launcher)]) else { return };
    let job = Job::new(launcher, 2).debian().stays_up();
    let directory = job.place("out/seed");
    let key = make_own_directory(&directory);
    let job = job.flags(["-u", "tester", "-c", &directory, "--ready", "cloud-init"]);
    let mut cluster = Cluster::boot(job, launcher);

    cluster.check("no sshd runs in any guest", no_sshd_runs);
    cluster.check("exec labels what the guests say, and has the worst of their codes", labels_and_codes);
    cluster.check("exec passes standard input", |cluster| {
        let program = cluster.program.clone();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo from the host | \"$0\" exec -j \"$1\" n0001 -- sh -c 'cat; hostname'"]);
        is(&*printed(run(shell.arg(program).arg(&cluster.name), COMMAND))?, "from the host\nn0001\n")
    });
    cluster.check("the user's directory and the job's own configuration are both there", |cluster| {
        let said = printed(
            cluster.exec("0", "id -un olduser tester; cat /home/olduser/.ssh/authorized_keys /ran; hostname"),
        )?;
        contains(&said, &["olduser\ntester\n", &key, "runcmd of the user\n", "n0000\n"])
    });
    cluster.check("a command is run by the user that was named", |cluster| {
        let said = printed(cluster.mvpnet("exec", ["-u", "tester", "n[0-1]", "--", "id -un"]))?;
        is(&sorted(&said), &vec!["n0000: tester", "n0001: tester"])
    });
    for (name, command) in [
        ("OpenMPI", "mpirun.openmpi --hostfile /etc/hosts.openmpi -n 2 hostname"),
        ("MPICH", "mpirun.mpich -f /etc/hosts.mpi -n 2 hostname"),
    ] {
        let check = format!("{name}'s mpirun of a user in rank 0 runs on both");
        cluster.check(&check, |cluster| {
            let said = printed(cluster.mvpnet("exec", ["0", "--", "su", "-", "olduser", "-c", command]))?;
            is(&sorted(&said), &vec!["n0000", "n0001"])
        });
    }
    cluster.check("MPI's messages pass between them", |cluster| {
        let ring = "import sys; sys.argv=['']; from mpi4py import MPI; w=MPI.COMM_WORLD; \
                    print(w.allreduce(w.rank + 1), MPI.Get_processor_name())";
        let script = format!("mpirun.openmpi --hostfile /etc/hosts.openmpi -n 2 python3 -c \"{ring}\"");
        let said = printed(cluster.mvpnet("exec", ["0", "--", "su", "-", "olduser", "-c", &script]))?;
        is(&sorted(&said), &vec!["3 n0000", "3 n0001"])
    });
    cluster.check("exec goes over qemu's guest agent where ours is not", |cluster| {
        // Whether the answer still comes is not the point: its messenger stops.
        cluster.exec("1", "systemctl stop mvpnet-agent");
        is(&*printed(cluster.exec("1", "systemctl is-active mvpnet-agent; hostname"))?, "inactive\nn0001\n")?;
        printed(cluster.exec("1", "systemctl start mvpnet-agent")).map(drop)
    });
    cluster.end();
}

/// A directory as the manual of the first mvpnet shows one; the user's key.
fn make_own_directory(directory: &str) -> String {
    fs::create_dir(directory).unwrap();
    let key = format!("{directory}-key");
    let made =
        run(Command::new("ssh-keygen").args(["-q", "-t", "rsa", "-N", "", "-C", "old", "-f", &key]), COMMAND);
    assert!(made.is_success(), "{made:?}");
    let public = fs::read_to_string(format!("{key}.pub")).unwrap();
    fs::write(format!("{directory}/meta-data"), "instance-id: iid-local01\ndsmode: local\n").unwrap();
    let user_data = format!(
        "#cloud-config\nbootcmd:\n  - [systemctl, mask, --now, ssh.service, ssh.socket]\nusers:\n  - name: olduser\n    \
         lock_passwd: true\n    shell: /bin/bash\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    ssh_authorized_keys:\n      - {public}\
         runcmd:\n  - [sh, -c, 'echo runcmd of the user >/ran']\n"
    );
    fs::write(format!("{directory}/user-data"), user_data).unwrap();
    public
}

fn no_sshd_runs(cluster: &Cluster) -> Result<(), String> {
    let said = cluster.exec("all", "systemctl is-enabled ssh; ss -ltnH | grep -c ':22 '; true");
    is(&sorted(&printed(said)?), &vec!["n0000: 0", "n0000: masked", "n0001: 0", "n0001: masked"])
}

fn labels_and_codes(cluster: &Cluster) -> Result<(), String> {
    let said = printed(cluster.mvpnet("exec", ["all", "--", "hostname"]))?;
    is(&sorted(&said), &vec!["n0000: n0000", "n0001: n0001"])?;
    let said = cluster.exec("all", "echo out; echo err >&2; [ $(hostname) = n0000 ] || exit 3");
    is(&said.status.and_then(|status| status.code()), &Some(3))?;
    is(&sorted(&said.stdout), &vec!["n0000: out", "n0001: out"])?;
    contains(&said.stderr, &["n0000: err\n", "n0001: err\n", "n0001"])
}
