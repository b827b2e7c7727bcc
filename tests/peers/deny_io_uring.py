#!/usr/bin/env python3
"""Run a program under a seccomp filter that refuses io_uring, as container runtimes do.

    python3 tests/peers/deny_io_uring.py EPERM|ENOSYS -- COMMAND [ARGUMENT...]

Docker and containerd answer EPERM, Podman ENOSYS. The filter holds for the program and all it starts.
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
IO_URING_CALLS = (425, 426, 427)  # setup, enter, register: the same on every architecture


def filter_program(number):
    """BPF: load the call's number; on one of ours return the error, else allow."""
    code = [struct.pack("HBBI", LOAD_WORD, 0, 0, 0)]
    for left, call in zip(range(len(IO_URING_CALLS), 0, -1), IO_URING_CALLS):
        code.append(struct.pack("HBBI", JUMP_EQUAL, left, 0, call))
    code.append(struct.pack("HBBI", RETURN, 0, 0, RET_ALLOW))
    code.append(struct.pack("HBBI", RETURN, 0, 0, RET_ERRNO | number))
    return code


def main(arguments):
    if len(arguments) < 3 or arguments[1] != "--" or arguments[0] not in ("EPERM", "ENOSYS"):
        sys.exit(__doc__)
    code = filter_program(getattr(errno, arguments[0]))
    instructions = ctypes.create_string_buffer(b"".join(code), 8 * len(code))
    program = ctypes.create_string_buffer(
        struct.pack("HP", len(code), ctypes.addressof(instructions))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    words = ctypes.c_ulong
    for step in (
        (PR_SET_NO_NEW_PRIVS, words(1), words(0), words(0), words(0)),
        (PR_SET_SECCOMP, words(SECCOMP_MODE_FILTER), program, words(0), words(0)),
    ):
        if libc.prctl(*step) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execvp(arguments[2], arguments[2:])


if __name__ == "__main__":
    main(sys.argv[1:])
