#!/bin/sh
# Makes this guest a member of its cluster. cloud-init copies this from the seed's volume and runs it on every boot:
#   boot    early, before accounts are made: names, ssh, MPI, the exec agent, and what runs the other two
#   users   when the accounts are there: the job's keys
#   mounts  shared directories and NFS; tries until it has them
#   unmount NFS, when the guest goes down
#   final   at the end of cloud-init: what is still missing, with a word why
# Every step may be repeated. MVPNET_ROOT is a directory that is meant by /, for tests.
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${MVPNET_ROOT:-}
JOB='' WSIZE='' RANK='' NAME='' LOGIN='' LOGIN_UID='' MPI_USER='' MPI_UID='' NFS='' PROXY='' EXEC=''
# shellcheck source=/dev/null
. "$here/config" || exit 1
: "$JOB" "$WSIZE"

say() { echo "mvpnet: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

put() { # FILE MODE: standard input becomes the file, all of it or nothing
    if mkdir -p "${1%/*}" && (umask 077 && cat >"$1.mvpnet.$$") &&
        chmod "$2" "$1.mvpnet.$$" && mv -f "$1.mvpnet.$$" "$1"; then
        if have restorecon; then restorecon "$1" 2>/dev/null; fi
        return 0
    fi
    say "$1 cannot be written"
    return 1
}

without_block() { # FILE: without what an earlier boot put there
    if [ -f "$1" ]; then sed -e '/^# mvpnet begin/,/^# mvpnet end/d' "$1"; fi
}

in_block() { # FILE: its lines between marks
    echo '# mvpnet begin: written on every boot, changes are lost'
    cat "$1"
    echo '# mvpnet end'
}

at_end() { # FILE SOURCE
    { without_block "$1" && in_block "$2"; } | put "$1" 644
}

at_top() { # FILE SOURCE: for files where the first of two settings counts
    { in_block "$2" && without_block "$1"; } | put "$1" 644
}

hosts() {
    # What the image or cloud-init say of our own names would lead to the loopback interface.
    old=$root/etc/hosts
    {
        if [ -f "$old" ]; then
            without_block "$old" | sed -E -e '/^#wsize:/d' \
                -e '/^10\.[0-9.]+[[:blank:]]+n[0-9]{4,}([[:blank:]]|$)/d' \
                -e "/^127\.0\.1\.1[[:blank:]](.*[[:blank:]])?$NAME([[:blank:].]|\$)/d" \
                -e "/^(127\.0\.0\.1|::1)[[:blank:]]/s/[[:blank:]]$NAME(\.[^[:blank:]]*)?([[:blank:]]|\$)/\2/g"
        fi
        if ! grep -Eq '^127\.0\.0\.1[[:blank:]]' "$old" 2>/dev/null; then
            echo '127.0.0.1 localhost'
            echo '::1 localhost ip6-localhost ip6-loopback'
        fi
        in_block "$here/hosts"
    } | put "$old" 644
    for file in hosts.mpi hosts.openmpi hosts.mpich; do
        put "$root/etc/$file" 644 <"$here/$file"
    done
}

ssh_files() {
    ssh=$root/etc/ssh
    at_end "$ssh/ssh_known_hosts" "$here/known_hosts"
    if grep -Eiq '^[[:blank:]]*include[[:blank:]].*ssh_config\.d/' "$ssh/ssh_config" 2>/dev/null; then
        put "$ssh/ssh_config.d/01-mvpnet.conf" 644 <"$here/ssh_config"
    else
        at_top "$ssh/ssh_config" "$here/ssh_config"
    fi
    if grep -Eiq '^[[:blank:]]*include[[:blank:]].*sshd_config\.d/' "$ssh/sshd_config" 2>/dev/null; then
        put "$ssh/sshd_config.d/01-mvpnet.conf" 600 <"$here/sshd_config"
    elif [ -f "$ssh/sshd_config" ]; then
        at_top "$ssh/sshd_config" "$here/sshd_config"
    fi
}

environment() {
    at_end "$root/etc/environment" "$here/environment"
    put "$root/etc/profile.d/mvpnet.sh" 644 <"$here/profile"
    at_end "$root/etc/openmpi/openmpi-mca-params.conf" "$here/openmpi"
    at_end "$root/etc/openmpi/prte-mca-params.conf" "$here/prte"
    # Where else packages have them.
    for etc in "$root"/etc/openmpi-* "$root/etc/prrte" "$root/etc/prte" "$root/usr/local/etc"; do
        if [ -d "$etc" ]; then
            at_end "$etc/openmpi-mca-params.conf" "$here/openmpi"
            at_end "$etc/prte-mca-params.conf" "$here/prte"
        fi
    done
    if [ -n "$PROXY" ] && [ -f "$root/etc/dnf/dnf.conf" ] && ! grep -q '^proxy' "$root/etc/dnf/dnf.conf"; then
        echo "proxy=$PROXY" >>"$root/etc/dnf/dnf.conf"
    fi
}

mpi_group() { # its number has to be there before the account is made
    [ -n "$MPI_USER" ] && [ -z "$root" ] || return 0
    if have getent && getent group "$MPI_USER" >/dev/null; then return 0; fi
    if have groupadd; then
        groupadd -g "$MPI_UID" "$MPI_USER"
    elif have pw; then
        pw groupadd "$MPI_USER" -g "$MPI_UID"
    else
        addgroup -g "$MPI_UID" "$MPI_USER"
    fi || say "group $MPI_USER cannot be made with the number $MPI_UID"
}

login_account() { # of the number that the user has on the host; cloud-init makes it where the number does not matter
    [ -n "$LOGIN_UID" ] && [ -z "$root" ] && have getent && have useradd || return 0
    if getent passwd "$LOGIN" >/dev/null; then return 0; fi
    if other=$(getent passwd "$LOGIN_UID"); then
        say "the number $LOGIN_UID is that of ${other%%:*} here, who can write to your directories; $LOGIN cannot"
    else
        useradd -m -s /bin/bash -u "$LOGIN_UID" "$LOGIN" || say "$LOGIN cannot have the number $LOGIN_UID"
    fi
}

start_unit() { # NAME: the unit on standard input, which holds for this boot
    put "/run/systemd/system/$1" 644
    # Older systemd knows new files only after a reload, which is slow.
    systemctl --no-block start "$1" 2>/dev/null ||
        { systemctl daemon-reload && systemctl --no-block start "$1"; } ||
        say "$1 cannot be started"
}

agent() {
    program=$root/usr/local/sbin/mvpnet-agent
    if [ "$EXEC" != 1 ]; then
        rm -f "$program" "$root/usr/local/bin/mvpnet-rsh"
        return
    fi
    python=
    for candidate in python3 /usr/libexec/platform-python /usr/local/bin/python3.*[0-9]; do
        if have "$candidate"; then
            python=$(command -v "$candidate")
            break
        fi
    done
    if [ -z "$python" ]; then
        say 'the exec agent needs python3, which is not installed: no mvpnet exec, no mvpnet-rsh'
        return
    fi
    sed "1s|^#![^ ]*|#!$python|" "$here/mvpnet-agent" | put "$program" 755 || return
    mkdir -p "$root/usr/local/bin"
    ln -sf /usr/local/sbin/mvpnet-agent "$root/usr/local/bin/mvpnet-rsh"
    if [ -n "$root" ]; then return; fi
    if systemd; then
        start_unit mvpnet-agent.service <<UNIT
[Unit]
Description=Commands from the mvpnet job of this guest
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=$program daemon
Restart=always
RestartSec=5
KillMode=process
UNIT
    else
        nohup "$program" daemon >/var/log/mvpnet-agent.log 2>&1 </dev/null &
    fi
}

later() { # the steps that have to wait
    put "$root/var/lib/cloud/scripts/per-boot/00-mvpnet" 755 <<SCRIPT
#!/bin/sh
# Written by mvpnet on every boot.
if [ -f '$here/setup' ]; then exec sh '$here/setup' final; fi
SCRIPT
    systemd || return 0
    start_unit mvpnet-users.service <<UNIT
[Unit]
Description=Keys of the mvpnet job for the accounts of this guest
After=cloud-init.service cloud-init-network.service
Before=ssh.service sshd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh $here/setup users
TimeoutStartSec=300
UNIT
    [ -n "$NFS" ] || [ -s "$here/shares" ] || return 0
    # What comes after others is stopped before them.
    after='mvpnet-users.service network.target'
    if [ -n "$NFS" ]; then after="$after nfs-server.service $(systemd-escape --path --suffix=mount "$NFS")"; fi
    start_unit mvpnet-mounts.service <<UNIT
[Unit]
Description=Shared directories of the mvpnet job
After=$after

[Service]
ExecStart=/bin/sh $here/setup mounts
RemainAfterExit=yes
ExecStop=/bin/sh $here/setup unmount
TimeoutStopSec=30
KillMode=process
UNIT
}

account() { # NAME, and in entry, home, uid, gid, shell what is known of it
    entry=$(grep "^$1:" "$root/etc/passwd" || { [ -z "$root" ] && have getent && getent passwd "$1"; }) || return 1
    uid=$(echo "$entry" | cut -d: -f3)
    gid=$(echo "$entry" | cut -d: -f4)
    home=$root$(echo "$entry" | cut -d: -f6)
    shell=$root$(echo "$entry" | cut -d: -f7)
}

keys_of() { # NAME
    account "$1" || return 1
    [ -d "$home" ] || return 1
    ssh=$home/.ssh
    mkdir -p "$ssh" && chmod 700 "$ssh" || return
    # Somebody's own key stays.
    name=id_ed25519
    if [ -f "$ssh/$name" ] && ! grep -q mvpnet-job "$ssh/$name.pub" 2>/dev/null; then name=id_mvpnet; fi
    put "$ssh/$name" 600 <"$here/id_ed25519"
    put "$ssh/$name.pub" 644 <"$here/id_ed25519.pub"
    {
        if [ -f "$ssh/authorized_keys" ]; then
            # The keys of jobs that have ended open nothing any more.
            grep -v ' mvpnet-job$' "$ssh/authorized_keys"
        fi
        cat "$here/id_ed25519.pub"
    } | put "$ssh/authorized_keys" 600
    while IFS= read -r key; do
        grep -qxF -e "$key" "$ssh/authorized_keys" || echo "$key" >>"$ssh/authorized_keys"
    done <"$here/authorized_keys"
    chown "$uid:$gid" "$ssh" "$ssh/$name" "$ssh/$name.pub" "$ssh/authorized_keys"
    if have restorecon; then restorecon -R "$ssh" 2>/dev/null; fi
    may_log_in "$1"
}

may_log_in() { # NAME, whose shell and what more account() has found
    [ -z "$root" ] && [ "$1" != root ] || return 0
    # Not every system has a bash, and sshd lets nobody in without a shell.
    if [ ! -x "$shell" ]; then sed -i "s|^\($1:.*:\)$shell\$|\1/bin/sh|" /etc/passwd; fi
    # Without PAM, sshd takes an account without a password for one that is closed.
    if [ -f /etc/alpine-release ]; then sed -i "s/^$1:!:/$1:*:/" /etc/shadow; fi
    return 0
}

users() {
    status=0
    for name in root $LOGIN $MPI_USER; do
        keys_of "$name" || { missing=$name; status=1; }
    done
    return $status
}

# The following say in `why` what they could not do.
mounted() { grep -qF " $1 " /proc/mounts; }

shares() {
    status=0
    while read -r tag directory; do
        if mounted "$directory"; then continue; fi
        mkdir -p "$directory"
        if mount -t virtiofs "$tag" "$directory" 2>/dev/null; then continue; fi
        if why=$(mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 "$tag" "$directory" 2>&1); then continue; fi
        why="$directory: neither virtiofs nor 9p (does the kernel have one of them?): $why"
        status=1
    done <"$here/shares"
    return $status
}

nfs_server() {
    if ! nfs_is_installed; then
        why='the NFS server is not installed (Debian, Ubuntu: nfs-kernel-server; others: nfs-utils)'
        return 1
    fi
    owner=${MPI_USER:-$LOGIN}
    if ! account "$owner"; then
        why="the user $owner is not there"
        return 1
    fi
    mkdir -p "$NFS" && chown "$uid:$gid" "$NFS"
    echo "\"$NFS\" 10.0.0.0/8(rw,sync,no_root_squash,no_subtree_check)" | put /etc/exports.d/mvpnet.exports 644
    printf '[nfsd]\nvers3=n\nvers4=y\n' | put /etc/nfs.conf.d/mvpnet.conf 644
    if systemd; then
        why=$(systemctl start nfs-server.service 2>&1) || return
    else
        why=$(rc-service nfs start 2>&1) || return
    fi
    why=$(exportfs -ra 2>&1)
}

nfs_client() {
    if mounted "$NFS"; then return 0; fi
    if ! nfs_is_installed; then
        why='NFS is not installed (Debian, Ubuntu: nfs-common; others: nfs-utils)'
        return 1
    fi
    mkdir -p "$NFS"
    # The address, not the name: its IPv6 address would be refused by the server.
    why=$(mount -t nfs4 -o hard,noatime,retry=0 "10.0.0.1:$NFS" "$NFS" 2>&1)
}

nfs_is_installed() { if [ "$RANK" = 0 ]; then have exportfs; else have mount.nfs || have mount.nfs4; fi; }

nfs() {
    [ -n "$NFS" ] || return 0
    if [ "$RANK" = 0 ]; then nfs_server; else nfs_client; fi
}

mounts() { # for ever: packages may come late, and so may rank 0
    tried=0
    until shares && nfs; do
        tried=$((tried + 1))
        if [ $((tried % 30)) = 1 ]; then say "still trying: $why"; fi
        sleep 2
    done
}

unmount() { # all guests go down at the same time: rank 0 waits for the others, and nobody waits for ever
    [ -n "$NFS" ] || return 0
    if [ "$RANK" = 0 ]; then
        left=10
        while [ "$left" -gt 0 ] && ls -d /proc/fs/nfsd/clients/* >/dev/null 2>&1; do
            left=$((left - 1))
            sleep 1
        done
    elif mounted "$NFS"; then
        timeout -s KILL 10 umount "$NFS" 2>/dev/null || umount -f -l "$NFS"
    fi
}

final() {
    hosts
    users || say "there is no account $missing, it has no keys of the job"
    if shares && nfs; then return; fi
    systemd || mounts &
    # Those that mount wait for the one that serves, but not for ever.
    left=90
    until shares && nfs; do
        left=$((left - 1))
        if [ "$left" = 0 ] || [ -z "$NFS" ] || ! nfs_is_installed; then
            say "$why"
            return
        fi
        sleep 2
    done
}

case ${1:-} in
boot)
    hosts
    ssh_files
    environment
    mpi_group
    login_account
    agent
    if [ -z "$NFS" ]; then rm -f "$root/etc/exports.d/mvpnet.exports"; fi
    later
    ;;
users | mounts | unmount | final) "$1" ;;
*)
    echo 'usage: setup boot|users|mounts|unmount|final' >&2
    exit 2
    ;;
esac
