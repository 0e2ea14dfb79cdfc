"""Loads this package as Python would without pytest, which no test of a user depends on.

pytest rewrites the assertions of each module of an installed plugin. It compiles them at the first
run after an installation, which is each run of a fresh CI machine, and a loader of its own, at
three times the time, loads them ever after. These have no assertions worth rewriting.
Imported before the others, by the plugin.

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
