"""A thread that does nothing but wake, for which it must get the GIL each time."""

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["waking_thread"]


@contextlib.contextmanager
def waking_thread(period: float) -> Iterator[None]:
    """Wake a thread every *period* seconds."""
    is_over = threading.Event()

    def wake() -> None:
        while not is_over.wait(period):
            pass

    thread = threading.Thread(target=wake)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
