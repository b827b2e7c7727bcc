#!/usr/bin/env python3
"""Runs a program in a world where io_uring is refused, as container runtimes do it.

    deny_io_uring.py EPERM|ENOSYS PROGRAM ARGUMENTS…

Docker and containerd answer EPERM, Podman ENOSYS: a seccomp filter on io_uring_setup, io_uring_enter
and io_uring_register (numbers 425 to 427 on every architecture). Needs no privilege.
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
BPF_LD_W_ABS, BPF_JGE_K, BPF_RET_K = 0x20, 0x35, 0x06
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
FIRST, AFTER = 425, 428
SYSCALL_NUMBER_OFFSET = 0


def instruction(code, jump_true, jump_false, value):
    return struct.pack("=HBBI", code, jump_true, jump_false, value)


def deny(number):
    program = b"".join(
        (
            instruction(BPF_LD_W_ABS, 0, 0, SYSCALL_NUMBER_OFFSET),
            instruction(BPF_JGE_K, 0, 2, FIRST),
            instruction(BPF_JGE_K, 1, 0, AFTER),
            instruction(BPF_RET_K, 0, 0, SECCOMP_RET_ERRNO | number),
            instruction(BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW),
        )
    )
    octets = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(octets)))
    libc = ctypes.CDLL(None, use_errno=True)
    prctl = libc.prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(header), 0, 0)):
        if prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("EPERM", "ENOSYS"):
        sys.exit(__doc__)
    deny(getattr(errno, sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
