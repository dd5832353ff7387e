"""How the process keeps its memory; matters for training on a CPU only."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_KEEP = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have glibc keep large freed blocks for reuse; whether the C library could be told.

    By itself it returns every block above 32 MB to the system, and gets the next one page by page: the sum of two tensors of 100 MB
    then takes eight times as long as the arithmetic. Call it before tensors are made. The process does not shrink any more.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _KEEP))
