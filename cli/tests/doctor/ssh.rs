//! ssh between the servers, by the real ssh to a real sshd.

use mvpnet_lab::doctor::Status;

use crate::{Servers, Shell, fault, found_and_mended, line};

/// A home of the shell's own, in `$d/home`: /etc is a copy, in which root lives there.
const HOME: &str = "d=$(mktemp -d) && mount -t tmpfs -o mode=755 none $d && mkdir -m 700 $d/home $d/home/.ssh && cp -a /etc $d/etc && \
    sed -i \"s|^\\(root:.*\\):/root:|\\1:$d/home:|\" $d/etc/passwd && mount --bind $d/etc /etc && export HOME=$d/home";

/// An sshd on server2 that takes passwords, of which root has one there.
fn sshd(there: &mut Shell) {
    there.must(HOME);
    there.must("mount -t tmpfs none /run && mkdir /run/sshd");
    there.must("ssh-keygen -q -t ed25519 -N '' -f $d/key && usermod -p \"$(openssl passwd -6 secret)\" root");
    there.must("printf '%s\\n' 'PermitRootLogin yes' 'UsePAM no' 'PasswordAuthentication yes' 'StrictModes no' \
                'PidFile none' 'Subsystem sftp internal-sftp' \"HostKey $d/key\" >$d/config && $(command -v sshd) -f $d/config -E $d/log");
}

/// A home without keys on server1, in which a question for a password is answered.
fn home(here: &mut Shell) {
    here.must(HOME);
    here.must(
        "export DISPLAY=none SSH_ASKPASS=$d/answer SSH_ASKPASS_REQUIRE=force && \
               printf '%s\\n' '#!/bin/sh' 'echo secret' >$d/answer && chmod +x $d/answer",
    );
}

fn tidy(shell: &mut Shell) {
    shell.must("umount -l /etc $d && rmdir $d");
}

#[test]
fn ssh_that_asks_is_made_not_to() {
    let Some(servers) = Servers::up(&["sshd", "ssh-copy-id", "ssh-keyscan", "openssl"]) else { return };
    let (mut here, mut there) = (servers.shell("server1"), servers.shell("server2"));
    sshd(&mut there);
    home(&mut here);
    // One after the other: the host's key is unknown, and then there is no key of one's own.
    for why in ["Host key verification failed", "Permission denied"] {
        let found = here.doctor("server2");
        let (seen, mend) = fault(line(&found, "ssh", "server1", Some("server2")), Status::Failure);
        assert!(seen.contains(why), "{seen}");
        here.must(&mend);
    }
    let mended = here.doctor("server2");
    assert_eq!(line(&mended, "ssh", "server1", Some("server2")).status, Status::Ok);
    // Now that ssh gets there: a shell of that host does not have this test's PATH.
    let (seen, mend) = fault(line(&mended, "program", "server1", Some("server2")), Status::Failure);
    assert_eq!(seen, "there is no `mvpnet` there");
    assert!(mend.starts_with("scp /") && mend.ends_with("/mvpnet server2:/usr/local/bin/mvpnet"), "{mend}");
    there.must("mkdir -p $d/bin && mount --bind $d/bin /usr/local/bin");
    here.must(&mend);
    let whole = here.doctor("server2");
    assert_eq!(line(&whole, "program", "server1", Some("server2")).status, Status::Ok);
    assert_eq!(line(&whole, "probe", "server2", Some("server1")).status, Status::Ok);
    tidy(&mut here);
    tidy(&mut there);
}

#[test]
fn a_changed_host_key_is_named_as_such() {
    let Some(servers) = Servers::up(&["sshd", "ssh-keyscan", "openssl"]) else { return };
    let (mut here, mut there) = (servers.shell("server1"), servers.shell("server2"));
    sshd(&mut there);
    home(&mut here);
    here.must("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/other && echo server2 $(cat ~/.ssh/other.pub) >~/.ssh/known_hosts");
    let found = here.doctor("server2");
    let (seen, mend) = fault(line(&found, "ssh", "server1", Some("server2")), Status::Failure);
    assert!(seen.contains("HAS CHANGED"), "{seen}");
    here.must(&mend);
    let next = here.doctor("server2");
    assert!(line(&next, "ssh", "server1", Some("server2")).seen.contains("Permission denied"));
    tidy(&mut here);
    tidy(&mut there);
}

#[test]
fn who_has_no_key_gets_one() {
    let Some(servers) = Servers::up(&["ssh-keygen"]) else { return };
    let mut here = servers.shell("server1");
    home(&mut here);
    here.must("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519 && cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys");
    found_and_mended(&mut here, "rm ~/.ssh/*", "", "ssh-keys", Status::Warning, "neither a key");
    found_and_mended(&mut here, ": >~/.ssh/authorized_keys", "", "ssh-keys", Status::Warning, "has no key");
    tidy(&mut here);
}
