"""Looks at one guest, from within, for `mvpnet check`; Python 3.6 and its standard library are enough.

REQUEST is put in front of this text. What was found is printed as JSON, one object on each line.
"""

import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time


def say(**found):
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def run(words, limit, **how):
    """The exit code, output and complaints of a command; the code is None if it took too long."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
    try:
        out, err = process.communicate(timeout=limit)
        code = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        code = None
    return code, out.decode(errors="replace"), err.decode(errors="replace")


def address_of(name, family):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(name, 22, family, socket.SOCK_STREAM)})
    except OSError as error:
        return [str(error)]


def names():
    """Names that lead elsewhere than they should: to nothing, to another address, to several."""
    wrong = []
    for name, ipv4, ipv6 in REQUEST["names"]:
        for family, wanted in ((socket.AF_INET, ipv4), (socket.AF_INET6, ipv6)):
            found = address_of(name, family)
            if found != [wanted]:
                wrong.append({"name": name, "wanted": wanted, "found": found})
    return wrong


def cloud_init():
    if shutil.which("cloud-init") is None:
        return None
    try:
        code, out, err = run(["cloud-init", "status", "--long"], REQUEST["limit"])
    except OSError as error:
        code, out, err = -1, "", str(error)
    return {"code": code, "text": out if out.strip() else err}


def nic():
    """The cluster's interface, by this guest's address on it, and its MTU."""
    for entry in sorted(os.listdir("/sys/class/net")):
        try:
            with open("/sys/class/net/%s/address" % entry) as file:
                mac = file.read().strip()
            if mac == REQUEST["mac"]:
                with open("/sys/class/net/%s/mtu" % entry) as file:
                    return {"name": entry, "mtu": int(file.read())}
        except (OSError, ValueError):
            continue
    return None


def usable(wrapper):
    """An MPI's compiler, if there is the compiler that it calls."""
    code, out, _ = run([wrapper, "-show"], REQUEST["limit"]) if wrapper else (1, "", "")
    words = out.split()
    return wrapper if code == 0 and words and shutil.which(words[0]) else None


def mpi():
    """What there is of MPI, each with the first line of what it says of itself."""
    found = []
    for launcher, compiler in REQUEST["mpi"]:
        launcher, compiler = shutil.which(launcher), shutil.which(compiler)
        if launcher is None:
            continue
        try:
            compiler = usable(compiler)
            _, out, err = run([launcher, "--version"], REQUEST["limit"])
        except OSError:
            continue
        found.append({"launcher": launcher, "compiler": compiler, "says": (out or err).strip()[:400]})
    return found


def mpi4py():
    program = "from mpi4py import MPI; print(MPI.Get_library_version().split(chr(10))[0])"
    code, out, _ = run([sys.executable, "-c", program], REQUEST["limit"])
    return out.strip()[:400] if code == 0 else None


def facts():
    say(now=time.time())
    say(
        host=socket.gethostname(),
        wrong_names=names(),
        cloud_init=cloud_init(),
        nic=nic(),
        mpi=mpi() if REQUEST["mpi"] else [],
        mpi4py=mpi4py() if REQUEST["mpi"] else None,
    )


def checksum(octets):
    octets += b"\0" * (len(octets) % 2)
    total = sum(struct.unpack("!%dH" % (len(octets) // 2), octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo(address, packet, tries):
    """Whether an answer comes to an echo request that fills a packet of so many octets, which may not be cut."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: ip(7). "Don't fragment" is set, and what was learned before is not used.
        raw.setsockopt(socket.IPPROTO_IP, 10, 3)
        raw.settimeout(0.5)
        number = random.randrange(1 << 16)
        payload = os.urandom(packet - 28)
        for sequence in range(tries):
            head = struct.pack("!BBHHH", 8, 0, 0, number, sequence)
            head = struct.pack("!BBHHH", 8, 0, checksum(head + payload), number, sequence)
            try:
                raw.sendto(head + payload, (address, 0))
            except OSError as error:
                return os.strerror(error.errno)
            until = time.monotonic() + REQUEST["patience"] / tries
            while time.monotonic() < until:
                try:
                    answer = raw.recv(1 << 16)
                except OSError:
                    continue
                inner = answer[(answer[0] & 15) * 4:]
                if inner[:1] == b"\0" and inner[4:6] == head[4:6] and inner[8:] == payload:
                    return "answered"
    return "nothing"


def paths():
    mtu = nic()["mtu"]
    for name, address in REQUEST["peers"]:
        say(peer=name, mtu=mtu, small=echo(address, 84, 5), full=echo(address, mtu, 5), over=echo(address, mtu + 1, 1))


def ssh():
    for name, address in REQUEST["peers"]:
        try:
            socket.create_connection((address, 22), REQUEST["limit"]).close()
        except ConnectionRefusedError:
            say(peer=name, refused=True, code=None, said="no sshd listens there", seconds=0)
            continue
        except OSError as error:
            say(peer=name, refused=False, code=None, said=str(error), seconds=0)
            continue
        begun = time.monotonic()
        words = ["ssh", "-n", "-o", "BatchMode=yes", "-o", "ConnectTimeout=%d" % REQUEST["limit"], name, "true"]
        try:
            code, out, err = run(words, REQUEST["limit"])
        except OSError as error:
            code, out, err = -1, "", str(error)
        said = (out + err).strip()[-1000:]
        say(peer=name, refused=False, code=code, said=said, seconds=time.monotonic() - begun)


{"facts": facts, "paths": paths, "ssh": ssh}[REQUEST["part"]]()
