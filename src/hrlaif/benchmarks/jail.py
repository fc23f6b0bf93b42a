"""Started as a program of its own: shuts itself in and runs a Python program from standard input.

New namespaces for mounts, network, processes and IPC; a root of its own that holds the interpreter and system
libraries read-only and an empty /tmp in memory, and nothing else of the machine: no home, no /proc, no /dev, no
sockets. Then no privileges, no system calls around these walls, limits on everything, and `python -I -S -` in it. It
uses the standard library only, since it runs with `-I -S`.

It says "ready" on the file descriptor that it is given once it is shut in, and the program's exit status at the end; or
what the machine refused. Nothing runs before it is shut in.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import sys
from typing import Any

MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
NEW_NS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
DETACH, AT_FDCWD, AT_RECURSIVE, ATTR_READ_ONLY = 0x2, -100, 0x8000, 0x1
SYS_MOUNT_SETATTR = 442  # the same number on every architecture; Linux 5.12
SET_DEATH_SIGNAL, SET_SECCOMP, SET_NO_NEW_PRIVILEGES = 1, 22, 38
# User ids that no account has (systemd keeps them for services): the limit on processes counts by user.
FIRST_USER, USERS = 61184, 4336
ROOT = "/proc"  # a folder that always exists, and that the program must not see
SYSTEM = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache")

# By processor: its number in the kernel's audit.h, and those of the system calls that get round namespaces and limits.
# Sockets reach a virtual machine's host (vsock), shared memory of System V is in no limit, keys are those of the user
# who runs this, a further user namespace mounts folders without bound, and io_uring does all that without system calls.
ARCHITECTURES = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41,
            "shmget": 29,
            "semget": 64,
            "msgget": 68,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "unshare": 272,
            "io_uring_setup": 425,
        },
        56,
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198,
            "shmget": 194,
            "semget": 190,
            "msgget": 186,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "unshare": 97,
            "io_uring_setup": 425,
        },
        220,
    ),
}
CLONE3, X32 = 435, 0x40000000
# Berkeley packet filter: load a word, jump if equal, if not less, if a bit is set; return.
LOAD, EQUAL, NOT_LESS, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # places in `struct seccomp_data`
KILL, FAIL, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
libc = ctypes.CDLL(None, use_errno=True)


class MountAttributes(ctypes.Structure):
    """`struct mount_attr`."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


class Instruction(ctypes.Structure):
    """`struct sock_filter`: an operation, how far to jump if true and if false, and a number."""

    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class Filter(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction))]


def call(name: str, *arguments: Any) -> int:
    """A C library call; OSError that names it where it fails."""
    plain = [argument.encode() if isinstance(argument, str) else argument for argument in arguments]
    result = int(getattr(libc, name)(*plain))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount a file system or, with MS_BIND, a folder or file at a second place."""
    call("mount", source, target, kind, ctypes.c_ulong(flags), data)


def read_only(path: str) -> None:
    """Make a mount and all below it read-only, whatever flags it is locked with."""
    attributes = MountAttributes(set=ATTR_READ_ONLY)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, path, AT_RECURSIVE, ctypes.byref(attributes), size)


def unshare() -> None:
    """New namespaces; who is not root becomes the owner of a user namespace first, where those are allowed."""
    flags = NEW_NS | NEW_NET | NEW_PID | NEW_IPC
    user, group = os.getuid(), os.getgid()
    if user == 0:
        call("unshare", flags)
        return
    call("unshare", flags | NEW_USER)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def build_root(interpreter: list[str], disk_bytes: int) -> None:
    """Put what Python needs under an empty root, move there, and leave everything else behind."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("none", ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for path in (*SYSTEM, *interpreter):
        place = ROOT + path
        if not os.path.exists(path) or os.path.lexists(place):
            continue
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if os.path.islink(path):
            os.symlink(os.readlink(path), place)
            continue
        if os.path.isdir(path):
            os.mkdir(place)
        else:
            open(place, "w").close()
        mount(path, place, None, MS_BIND | MS_REC)
    os.mkdir(ROOT + "/tmp")
    read_only(ROOT)
    mount("none", ROOT + "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={disk_bytes},nr_inodes=256,mode=777")
    os.chdir(ROOT)
    call("pivot_root", ".", ".")
    call("umount2", ".", DETACH)
    os.chdir("/tmp")


def give_up_privileges(limits: dict[str, int]) -> None:
    """Limits that cannot be raised again, and no way back to more rights."""
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, name), (most, most))
    if os.getuid() == 0:
        # One each: programs that run at once would share their limit on processes.
        nobody = FIRST_USER + int.from_bytes(os.urandom(4), "big") % USERS
        os.setgroups([])
        os.setgid(nobody)
        os.setuid(nobody)
    call("prctl", SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    forbid_calls()


def forbid_calls() -> None:
    """Make the system calls fail that get round namespaces and limits (see ARCHITECTURES), for good (seccomp)."""
    if os.uname().machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no list of system calls for {os.uname().machine}")
    architecture, forbidden, clone = ARCHITECTURES[os.uname().machine]
    failing = dict.fromkeys(forbidden.values(), errno.EPERM)
    # The C library tries clone3, whose flags a filter cannot see, and goes on with clone.
    failing[CLONE3] = errno.ENOSYS
    rows = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    rows += [(NOT_LESS, 0, 1, X32), (RETURN, 0, 0, KILL)]
    for number, error in failing.items():
        rows += [(EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | error)]
    rows += [(EQUAL, 0, 3, clone), (LOAD, 0, 0, FIRST_ARGUMENT)]
    rows += [(ANY_BIT, 0, 1, NEW_USER), (RETURN, 0, 0, FAIL | errno.EPERM), (RETURN, 0, 0, ALLOW)]
    instructions = (Instruction * len(rows))(*(Instruction(*row) for row in rows))
    call("prctl", SET_SECCOMP, 2, ctypes.byref(Filter(len(rows), instructions)), 0, 0)


def wait(child: int) -> int:
    """The exit code of a child; of one that a signal ended, minus the signal."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def first_process(order: dict[str, Any], said: int) -> int:
    """What the first process of the new namespace does: its end is the end of every other in it."""
    call("prctl", SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    build_root([order["python"], *order["interpreter"]], order["disk_bytes"])
    program = os.fork()
    if program == 0:
        # Closed where Python starts, and open to say so where it does not.
        os.set_inheritable(said, False)
        give_up_privileges(order["limits"])
        os.write(said, b"ready\n")
        python = order["python"]
        os.execve(python, [python, "-I", "-S", "-"], {"PATH": "", "HOME": "/tmp", "LANG": "C.UTF-8"})
    code = wait(program)
    os.write(said, f"exit {code}\n".encode())
    return 0


def main() -> None:
    """Run as `python -I -S jail.py FD ORDER`, the order being a JSON object."""
    said, order = int(sys.argv[1]), json.loads(sys.argv[2])
    try:
        # Whoever started this may be killed: nothing of it stays behind.
        call("prctl", SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        # Where the machine runs out of memory, this goes first.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        unshare()
        child = os.fork()
        if child:
            os._exit(wait(child) != 0)
        os._exit(first_process(order, said))
    except BaseException as error:  # whatever it is: the program must not run outside
        reason = getattr(error, "strerror", None) or error
        os.write(said, f"refused {reason}\n".encode())
        os._exit(1)


if __name__ == "__main__":
    main()
