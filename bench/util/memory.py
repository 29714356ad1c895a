"""Reuse of the memory of freed tensors by the C library."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h
TRIM, PAD = 2**31 - 1, 2**28  # bytes; mallopt takes an int


def keep_freed_memory() -> bool:
    """Make the process reuse freed buffers instead of returning them to the system. True on success, False without glibc.

    By default glibc maps and unmaps every buffer of 32 MB or more at each allocation and free, and returns the top of the heap,
    so every step of a refinement causes page faults for the same pages. With this call, resident memory stays near its peak, at
    most 2 GB above the memory in use. Call it before the first tensor. It overrides MALLOC_... of the environment.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, TRIM), mallopt(M_TOP_PAD, PAD)])
