"""What the tests of this folder share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def small_heap() -> Iterator[None]:
    """Leave what there was before out of collections, which each take a fifth of a second else."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
