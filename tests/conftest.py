"""What all tests share."""

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does; no test is about that.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> None:
    """Leave what there was before out of collections: a whole session makes each take 0.3 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def whole_heap() -> Iterator[None]:
    """Let collections see everything again, as a test needs that looks for who holds an object."""
    gc.unfreeze()
    yield
    gc.freeze()
