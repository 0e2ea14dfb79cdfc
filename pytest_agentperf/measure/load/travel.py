"""Travel: how the functions of a load get into other processes."""

import inspect
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from pytest_agentperf.core.errors import LoadError
from pytest_agentperf.measure.timings import name_of

__all__ = ["pack", "pack_by_value", "told", "unpack"]

_CURE = (
    "define it in a module that workers can import, or run pip install 'pytest-agentperf[dask]',"
    " whose cloudpickle sends functions by value"
)


def pack(job: object, functions: tuple[Callable[..., Any], ...]) -> bytes:
    """Return *job* by plain pickle, or by cloudpickle where that is needed and installed.

    Args:
        job: What travels.
        functions: The functions in it, for messages.

    Raises:
        LoadError: It cannot be pickled.
    """
    try:
        return pickle.dumps(job)
    except Exception as error:  # noqa: BLE001 -- whatever the user's objects raise
        return pack_by_value(job, functions, f"cannot be pickled ({told(error)})")


def pack_by_value(job: object, functions: tuple[Callable[..., Any], ...], why: str) -> bytes:
    """Return *job* by cloudpickle, the modules of its functions included.

    Args:
        job: What travels.
        functions: The functions in it.
        why: What keeps plain pickle from it.

    Raises:
        LoadError: cloudpickle is not installed, or cannot do it either.
    """
    names = ", ".join(dict.fromkeys(map(name_of, functions)))
    try:
        import cloudpickle
    except ImportError:
        raise LoadError(f"{names} {why}: {_CURE}") from None
    try:
        with _by_value(cloudpickle, functions):
            return bytes(cloudpickle.dumps(job))
    except Exception as error:
        raise LoadError(
            f"{names} cannot be sent to another process, not even by cloudpickle"
            f" ({told(error)}); make what it holds inside of the function"
        ) from error


def unpack(packed: bytes) -> Any:
    """Return what was packed; fails in many ways where it cannot be imported here."""
    return pickle.loads(packed)  # noqa: S301 -- by the process that started this one


@contextmanager
def _by_value(cloudpickle: Any, functions: tuple[Callable[..., Any], ...]) -> Iterator[None]:
    """Have *cloudpickle* send the modules of *functions* too, and not only their names."""
    modules = {id(module): module for module in map(_module_of, functions) if module is not None}
    known = cloudpickle.list_registry_pickle_by_value()
    added = [module for module in modules.values() if module.__name__ not in known]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)


def _module_of(func: Callable[..., Any]) -> Any:
    while isinstance(func, partial):
        func = func.func
    owner = getattr(func, "__self__", None)
    if owner is not None and not inspect.ismodule(owner):
        func = owner if isinstance(owner, type) else type(owner)
    elif not hasattr(func, "__qualname__"):
        func = type(func)
    return sys.modules.get(func.__module__)


def told(error: BaseException) -> str:
    """Return *error* in words, which travel where its type may not."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
