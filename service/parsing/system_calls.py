"""Which system calls a parsing child may make: it may start threads, but no process or program, and open no connection.

A filter of seccomp (Linux), which nothing can take off again. The numbers are those of the kernel's tables
(arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
"""

import ctypes
import errno
import platform
import struct
from typing import Final, NamedTuple

PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2
CLONE_THREAD: Final = 0x10000
X32: Final = 0x40000000  # the same calls under other numbers

# Instructions of classic BPF: load a word, compare and jump, return (linux/bpf_common.h).
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW: Final = 0x7FFF0000
FAIL: Final = 0x00050000
# Where these are in struct seccomp_data.
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16


class Calls(NamedTuple):
    """The numbers of an architecture: its own, of the calls that start threads or processes, and of those refused."""

    architecture: int
    clone: int
    clone3: int
    refused: tuple[int, ...]


# Refused: io_uring_setup, io_uring_enter and io_uring_register, which the filter does not see through,
# fork, vfork, execve, execveat, socket, connect, ptrace, process_vm_readv, process_vm_writev.
KNOWN: Final = {
    "x86_64": Calls(0xC000003E, 56, 435, (425, 426, 427, 57, 58, 59, 322, 41, 42, 101, 310, 311)),
    "aarch64": Calls(0xC00000B7, 220, 435, (425, 426, 427, 221, 281, 198, 203, 117, 270, 271)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def restrict() -> None:
    """Refuse the calls in this process from now on; nothing on other systems. Privileges must have been given up before."""
    calls = KNOWN.get(platform.machine())
    if calls is None or platform.system() != "Linux":
        return
    instructions = _filter(calls)
    content = ctypes.create_string_buffer(b"".join(instructions))
    program = _Program(len(instructions), ctypes.addressof(content))
    ctypes.CDLL(None).prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def _filter(calls: Calls) -> list[bytes]:
    refusal = _step(RETURN, FAIL | errno.EPERM)
    found = [
        _step(LOAD, ARCHITECTURE),
        _step(EQUAL, calls.architecture, 1, 0),
        refusal,
        _step(LOAD, NUMBER),
        _step(AT_LEAST, X32, 0, 1),
        refusal,
        _step(EQUAL, calls.clone3, 0, 1),
        _step(RETURN, FAIL | errno.ENOSYS),  # the C library tries clone instead, whose flags can be seen
    ]
    for number in calls.refused:
        found += [_step(EQUAL, number, 0, 1), refusal]
    return [
        *found,
        _step(EQUAL, calls.clone, 0, 3),
        _step(LOAD, FIRST_ARGUMENT),
        _step(ANY_BIT, CLONE_THREAD, 1, 0),
        refusal,
        _step(RETURN, ALLOW),
    ]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
