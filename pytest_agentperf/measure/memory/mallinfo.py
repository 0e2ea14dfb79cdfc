"""Memory that C code has allocated, as the allocator of glibc counts it.

The system counts pages, and a page that Python has released serves C code for a long time before
the process takes another; the allocator knows every byte that is in use.
"""

import sys
from collections.abc import Callable

__all__ = ["find_mallinfo"]

# In the order of `struct mallinfo2`, see mallinfo(3).
_FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd",
    "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


def find_mallinfo() -> Callable[[], int] | None:
    """Return what returns the bytes in use of `malloc`; None without glibc 2.33 or later."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

        class Info(ctypes.Structure):
            _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)

        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, ImportError, OSError):
        return None
    mallinfo.argtypes, mallinfo.restype = (), Info

    def in_use() -> int:
        info = mallinfo()
        return int(info.uordblks + info.hblkhd)

    return in_use
