"""How the C library keeps the memory of freed tensors."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h
TRIM, PAD = 2**31 - 1, 2**28  # bytes; mallopt takes an int


def keep_freed_memory() -> bool:
    """Let the process reuse freed buffers in place of handing them back. Whether it could: glibc only, else nothing happens.

    By default glibc maps buffers of 32 MB and more anew and unmaps them at every free, and gives the top of the heap back;
    every step of a refinement then faults the same pages in again. Resident memory stays near its peak, at most 2 GB above
    what is in use. Call it before the first tensor. It overrides MALLOC_... of the environment.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, TRIM), mallopt(M_TOP_PAD, PAD)])
