"""Collections of garbage: made cheap while a function is called, and put off while it is named."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["no_collections", "old_objects_aside"]


@contextmanager
def old_objects_aside(collect: Callable[[], object]) -> Iterator[None]:
    """Keep the objects that there are out of collections, which then take as long as the new need.

    A million objects take a second otherwise. Not so where somebody else has set objects aside,
    since all of them come back together.
    """
    collect()
    is_ours = gc.get_freeze_count() == 0
    if is_ours:
        gc.freeze()
    try:
        yield
    finally:
        if is_ours:
            gc.unfreeze()


@contextmanager
def no_collections() -> Iterator[None]:
    """Let no collection begin by itself, so that what is new stays in the young generation."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
