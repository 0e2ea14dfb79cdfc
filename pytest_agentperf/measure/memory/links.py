"""Links: how what holds an object is called, and how it gets to the object from there.

A chain of holders is read from the outside: `agent.py:12 SESSIONS['a'] → list[3] → Agent.history`.
"""

import ast
import contextvars
import functools
import linecache
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import (
    CellType,
    CodeType,
    FrameType,
    FunctionType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any, Final

from pytest_agentperf.measure.memory.leftovers import type_name

__all__ = ["is_root", "path_text"]

_MAX_KEY: Final = 40
# A frame that waits: of a coroutine, a generator, an async generator.
_WAITING: Final = ("cr_frame", "gi_frame", "ag_frame")


def is_root(obj: object) -> bool:
    """Return whether *obj* lives by itself: no reader asks who holds it."""
    if isinstance(obj, dict):
        return _module_of(obj) is not None
    if isinstance(obj, FrameType):
        return is_running(obj)
    if isinstance(obj, type | ModuleType):
        return True
    name = type_name(obj)
    if name == "Task":
        return not _call(obj, "done")
    return name in {"lru_cache", "Context", "Handle", "TimerHandle"}


def is_running(frame: FrameType) -> bool:
    """Return whether *frame* is in the stack of a thread; others are kept by an exception."""
    for each in sys._current_frames().values():  # noqa: SLF001 -- documented, for this
        caller: FrameType | None = each
        while caller is not None:
            if caller is frame:
                return True
            caller = caller.f_back
    return False


def path_text(path: Sequence[Any]) -> tuple[str, ...]:
    """Return *path*, from a root to what it holds, as links; what is held itself is not shown."""
    links: list[str] = []
    name = ""  # that the last holder gave to the present one, which is not called by its type then
    for at, holder in enumerate(path[:-1]):
        before, held = path[at - 1] if at else None, path[at + 1]
        given = _given_name(holder, path[at + 1 :])
        if given:
            links += [name] if name else []
            name = given
        elif (step := _step(holder, held, before)) is not None:
            links.append((name or type_name(holder)) + step)
            name = ""
    return (*links, name) if name else tuple(links)


def _given_name(holder: Any, inner: Sequence[Any]) -> str:
    """Return the name by which *holder* knows the first of *inner*, as a module does."""
    held = inner[0]
    if isinstance(holder, dict) and (module := _module_of(holder)) is not None:
        key = str(_key_of(holder, held))
        return f"{_global_place(module, key)}{key}"
    if isinstance(holder, type):
        return f"class {holder.__qualname__.rpartition('<locals>.')[2]}"
    if isinstance(holder, FunctionType | MethodType | functools.partial):
        return f"{type_name(holder)} {_function_name(holder)}{_captured(holder, inner)}"
    frame = holder if isinstance(holder, FrameType) else _waiting_frame(holder)
    if frame is not None:
        return _local(frame.f_locals, held, frame.f_code, frame.f_lineno)
    if type_name(holder) == "Context":
        return _context_text(held)
    return ""


def _waiting_frame(holder: Any) -> FrameType | None:
    for attribute in _WAITING:
        if hasattr(type(holder), attribute):
            frame: FrameType | None = getattr(holder, attribute)
            return frame
    return None


def _context_text(held: Any) -> str:
    variables = contextvars.copy_context().items()
    names = (f"ContextVar {variable.name!r}" for variable, value in variables if value is held)
    return next(names, "a ContextVar")


def _step(holder: Any, held: Any, before: Any) -> str | None:
    """Return how to get from *holder* to *held*; None where a reader does not want to know."""
    if isinstance(holder, dict):
        key = _key_of(holder, held)
        is_attribute = isinstance(before, type) or getattr(before, "__dict__", None) is holder
        return f".{key}" if is_attribute else f"[{_short(key)}]"
    is_part = isinstance(holder, tuple) and isinstance(before, FunctionType | functools.partial)
    if is_part or isinstance(holder, CellType | TracebackType):
        return None
    return _accessor(holder, held)


def _accessor(holder: Any, held: Any) -> str:
    """Return how to get from *holder* to *held*, as in ``"[3]"`` or ``".history"``."""
    if isinstance(holder, list | tuple | deque):
        return next((f"[{at}]" for at, each in enumerate(holder) if each is held), "")
    if type_name(holder) == "lru_cache":
        return _cache_text(holder)
    if isinstance(holder, BaseException) and isinstance(held, TracebackType):
        return f"({str(holder)[:_MAX_KEY]!r}).__traceback__"
    if type_name(holder) == "Task":
        function = getattr(_call(holder, "get_coro"), "__qualname__", "?")
        return f" {_call(holder, 'get_name')!r} ({function.rpartition('<locals>.')[2]})"
    callback = getattr(holder, "_callback", None) if "Handle" in type_name(holder) else None
    if callback is not None:
        return f" of {getattr(callback, '__qualname__', type_name(callback))}"
    attribute = _attribute(holder, held)
    return f".{attribute}" if attribute else ""


def _attribute(holder: Any, held: Any) -> str:
    values: Mapping[str, Any] = getattr(holder, "__dict__", {})
    for name, value in values.items():
        if value is held:
            return name
    for kind in type(holder).__mro__:
        for name, slot in vars(kind).items():
            if type_name(slot) == "member_descriptor" and _slot_value(slot, holder) is held:
                return name
    return ""


def _slot_value(slot: Any, holder: Any) -> Any:
    try:
        return slot.__get__(holder)
    except AttributeError:
        return None


def _function_name(holder: Any) -> str:
    function = getattr(holder, "func", holder)
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", type_name(function)).rpartition("<locals>.")[2]
    return f"{name} ({_place(code, code.co_firstlineno)})" if isinstance(code, CodeType) else name


def _captured(holder: Any, inner: Sequence[Any]) -> str:
    """Return how a function holds the first of *inner*: by a default, or a variable."""
    if not isinstance(holder, FunctionType):
        return ""
    if inner[0] is holder.__defaults__ or inner[0] is holder.__kwdefaults__:
        return "'s default"
    variables = zip(holder.__code__.co_freevars, holder.__closure__ or (), strict=False)
    names = (f"'s variable {name}" for name, cell in variables if inner[1:] and cell is inner[1])
    return next(names, "")


def _local(values: Mapping[str, Any], held: Any, code: CodeType, line: int) -> str:
    if isinstance(held, CellType):  # a variable that an inner function shares
        held = held.cell_contents
    name = next((name for name, value in values.items() if value is held), None)
    function = code.co_qualname.rpartition("<locals>.")[2]
    what = f"variable {name} of {function}" if name else f"a value in {function}"
    return f"{what} ({_place(code, line)})"


def _place(code: CodeType, line: int) -> str:
    return f"{_shown(code.co_filename)}:{line}"


def _shown(filename: str) -> str:
    return filename.removeprefix(str(Path.cwd()) + os.sep)


def _module_of(values: dict[Any, Any]) -> ModuleType | None:
    name = values.get("__name__") if "__spec__" in values or "__file__" in values else None
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module if module is not None and vars(module) is values else None


def _global_place(module: ModuleType, name: str) -> str:
    """Return where *module* sets the variable *name*, as ``"agent.py:12 "``."""
    file = getattr(module, "__file__", None)
    if not file:
        return f"{module.__name__}."
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return f"{_shown(file)} "
    lines = (node.lineno for node in tree.body if name in _assigned(node))
    line = next(lines, None)
    return f"{_shown(file)}:{line} " if line else f"{_shown(file)} "


def _assigned(node: ast.stmt) -> set[str]:
    targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _key_of(values: Mapping[Any, Any], held: Any) -> Any:
    return next((key for key, value in values.items() if value is held or key is held), None)


def _short(key: Any) -> str:
    try:
        text = repr(key)
    except Exception:  # noqa: BLE001 -- a `__repr__` of the user's
        text = type_name(key)
    return text if len(text) <= _MAX_KEY else f"{text[: _MAX_KEY - 1]}…"


def _cache_text(cache: Any) -> str:
    info = cache.cache_info()
    most = "any number" if info.maxsize is None else f"at most {info.maxsize}"
    return f" of {cache.__qualname__} ({info.currsize} of {most})"


def _call(obj: Any, method: str) -> Any:
    try:
        return getattr(obj, method)()
    except Exception:  # noqa: BLE001 -- an object of another kind with that name
        return None
