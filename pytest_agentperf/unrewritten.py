"""Loads this package as Python does, past the loader of pytest.

pytest takes each module of an installed plugin for one with assertions to rewrite: it compiles it
once more at the first run after an installation, which is each run of a fresh CI machine, and its
loader takes three times as long as Python's ever after. There are none here that users would read.
Imported before the other modules, by the plugin.

PYTEST_DONT_REWRITE
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

__all__ = ["Unrewritten"]

_PREFIX = f"{__package__}."


class Unrewritten:
    """Finds the modules of this package before pytest's hook does."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what Python itself finds for *name* of this package; None for any other."""
        return PathFinder.find_spec(name, path, target) if name.startswith(_PREFIX) else None


sys.meta_path.insert(0, Unrewritten)
