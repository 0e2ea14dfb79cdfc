"""What all tests share."""

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does; no test is about that.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")

# A shell starts background jobs deaf to Ctrl-C, and so would be all that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
