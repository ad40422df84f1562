//! What guests need: qemu, KVM, an image.

use mvpnet_lab::doctor::Status;

use crate::{Servers, fault, found_and_mended, line};

/// A program of the shell's own, found first.
fn program(name: &str, script: &str) -> String {
    format!(
        "mkdir -p /tmp/$$/bin && printf '%s\\n' '#!/bin/sh' '{script}' >/tmp/$$/bin/{name} && chmod +x /tmp/$$/bin/{name}"
    )
}

const TIDY: &str = "rm -r /tmp/$$";

#[test]
fn an_old_qemu_in_front_of_a_newer_one_is_passed_by() {
    let Some(servers) = Servers::up(&["qemu-system-x86_64"]) else { return };
    let mut shell = servers.shell("server1");
    let old = program("qemu-system-x86_64", "echo QEMU emulator version 5.2.0");
    let plant = format!("{old} && PATH=/tmp/$$/bin:$PATH");
    found_and_mended(&mut shell, &plant, "", "qemu", Status::Failure, "is version 5.2; older than 7.2");
    shell.must(TIDY);
}

#[test]
fn a_qemu_that_is_not_on_the_path_is_found() {
    let Some(servers) = Servers::up(&["qemu-system-x86_64"]) else { return };
    let mut shell = servers.shell("server1");
    let plant =
        "mkdir -p /tmp/$$ && ln -s \"$(command -v mvpnet)\" $(command -v ip rm) /tmp/$$ && PATH=/tmp/$$";
    found_and_mended(
        &mut shell,
        plant,
        "",
        "qemu",
        Status::Failure,
        "there is no qemu-system-x86_64 on PATH",
    );
    shell.must(TIDY);
}

/// The packages are as the distribution made them: its program to install them is one of the test's own, that does
/// what installing this package would do.
#[test]
fn an_absent_or_too_old_qemu_is_installed() {
    let Some(servers) = Servers::up(&["qemu-system-x86_64", "apt-get"]) else { return };
    let mut shell = servers.shell("server1");
    let install = r#"[ "$*" = "install -y qemu-system-x86" ] && umount /usr/bin/qemu-system-x86_64"#;
    shell.must(&program("apt-get", install));
    shell.must("PATH=/tmp/$$/bin:$PATH");
    let hide = "mount --bind /dev/null /usr/bin/qemu-system-x86_64";
    found_and_mended(&mut shell, hide, "", "qemu", Status::Failure, "there is no qemu-system-x86_64");
    shell.must(&program("old", "echo QEMU emulator version 6.2.0"));
    let cover = "mount --bind /tmp/$$/bin/old /usr/bin/qemu-system-x86_64";
    found_and_mended(&mut shell, cover, "", "qemu", Status::Failure, "is version 6.2; older than 7.2");
    shell.must(TIDY);
}

/// The device and the CPU's flags are the test's own: machines that run tests are virtual, mostly.
#[test]
fn a_user_who_may_not_open_kvm_is_let_into_its_group() {
    let Some(servers) = Servers::up(&["setpriv", "usermod"]) else { return };
    let mut shell = servers.shell("server1");
    shell.must("mkdir -p /tmp/$$ && mount -t tmpfs -o mode=755 none /tmp/$$ && install \"$(command -v mvpnet)\" /tmp/$$/mvpnet");
    shell.must(
        "cp -a /etc /tmp/$$/etc && mount --bind /tmp/$$/etc /etc && (getent group kvm || groupadd kvm)",
    );
    shell.must("mkdir /tmp/$$/dev && cp -a /dev/null /dev/zero /dev/urandom /dev/tty /tmp/$$/dev && \
                ln -s /proc/self/fd /tmp/$$/dev/fd && touch /tmp/$$/dev/kvm && chown root:kvm /tmp/$$/dev/kvm && \
                chmod 660 /tmp/$$/dev/kvm && mount --bind /tmp/$$/dev /dev");
    shell.must("echo 'flags : fpu vmx' >/tmp/$$/cpuinfo && mount --bind /tmp/$$/cpuinfo /proc/cpuinfo");
    let as_nobody = "PATH=/tmp/$$:$PATH setpriv --reuid nobody --regid nogroup --init-groups";
    let found = shell.doctor_by(as_nobody, "");
    let (seen, mend) = fault(line(&found, "kvm", "server1", None), Status::Warning);
    assert!(seen.contains("it belongs to group kvm, which you are not in"), "{seen}");
    assert!(mend.starts_with("usermod -aG kvm nobody"), "{mend}");
    shell.must(&mend);
    // Logged in again.
    let mended = shell.doctor_by(as_nobody, "");
    assert_eq!(line(&mended, "kvm", "server1", None).status, Status::Ok);
    shell.must("umount -l /proc/cpuinfo /dev /etc /tmp/$$ && rmdir /tmp/$$");
}

/// A module cannot be loaded into a machine without KVM: the program that would do it is the test's own.
#[test]
fn an_absent_kvm_has_its_module_loaded() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut shell = servers.shell("server1");
    shell.must(&program("modprobe", r#"[ "$*" = kvm_intel ] && touch /dev/kvm"#));
    shell.must("PATH=/tmp/$$/bin:$PATH && mkdir /tmp/$$/dev && cp -a /dev/null /tmp/$$/dev && touch /tmp/$$/dev/kvm && \
                mount --bind /tmp/$$/dev /dev");
    shell.must("echo 'flags : fpu vmx' >/tmp/$$/cpuinfo && mount --bind /tmp/$$/cpuinfo /proc/cpuinfo");
    found_and_mended(&mut shell, "rm /dev/kvm", "", "kvm", Status::Warning, "there is no /dev/kvm");
    shell.must("umount -l /proc/cpuinfo /dev");
    shell.must(TIDY);
}

#[test]
fn a_packed_image_is_unpacked() {
    let Some(servers) = Servers::up(&["gzip"]) else { return };
    let mut shell = servers.shell("server1");
    shell.must("mkdir -p /tmp/$$ && printf 'QFI\\373' >/tmp/$$/a.img && truncate -s 64K /tmp/$$/a.img && gzip /tmp/$$/a.img");
    let found = shell.doctor("--image /tmp/$$/a.img.gz");
    let (seen, mend) = fault(line(&found, "image", "server1", None), Status::Failure);
    assert!(seen.contains("is packed (gz)"), "{seen}");
    shell.must(&mend);
    let mended = shell.doctor("--image /tmp/$$/a.img");
    assert!(line(&mended, "image", "server1", None).seen.contains("is qcow2, 64.0 KiB"));
    shell.must(TIDY);
}
