"""How this package is imported: as Python does, past the loader of pytest, and uncollected.

pytest takes each module of an installed plugin for one with assertions to rewrite: it compiles it
once more at the first run after an installation, which is each run of a fresh CI machine, and its
loader takes three times as long as Python's ever after. No assertion of ours is for users.
Imported before the other modules, by the plugin.

PYTEST_DONT_REWRITE
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

__all__ = ["Unrewritten", "come_first", "uncollected"]

_PREFIX = f"{__package__}."


class Unrewritten:
    """Finds the modules of this package, where it stands before the hook of pytest."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what Python itself finds for *name* of this package; None for any other."""
        return PathFinder.find_spec(name, path, target) if name.startswith(_PREFIX) else None


def come_first() -> None:
    """Find these modules before anybody else; each run of pytest puts its hook in front."""
    if sys.meta_path[0] is not Unrewritten:
        with suppress(ValueError):
            sys.meta_path.remove(Unrewritten)
        sys.meta_path.insert(0, Unrewritten)


come_first()


@contextmanager
def uncollected() -> Iterator[None]:
    """Import much at once without garbage collections, which would find none: modules stay.

    To the collector each tuple in the code of a module is a new object, and so some ten thousand
    objects make it run twenty times, once or twice through all that pytest holds. Afterwards they
    count as old: the next three collections would else go through them.
    """
    is_enabled, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            if len(sys.modules) > known:
                _make_old()
            gc.enable()


def _make_old() -> None:
    """Have the collector take all objects that there are for old, without a look at any.

    Not where somebody has set objects aside, as Python 3.12 does with its own: they would come
    back. PyPy sets none aside.
    """
    if hasattr(gc, "freeze") and not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()
