"""Files: read with a bound, written whole or not at all."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from pytest_agentperf.core.errors import FileFormatError

__all__ = ["read_text", "write_text"]

_LARGEST: Final = 50_000_000


def read_text(path: Path) -> str:
    """Return the text of *path*.

    Raises:
        OSError: It cannot be read.
        FileFormatError: It is larger than 50 MB, or no UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise FileFormatError(f"{path}: larger than 50 MB, which no file of this kind is")
    try:
        return content.decode("utf-8-sig")  # editors of Windows put a mark in front
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path}: no UTF-8 text at byte {error.start}; save it as UTF-8"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Replace the content of *path* by *text*, so that a reader sees the old or the new one whole.

    Raises:
        OSError: It cannot be written, or is larger than `read_text` takes; the old content is
            still there.
    """
    content = text.encode()
    if len(content) > _LARGEST:
        raise OSError(errno.EFBIG, "larger than the 50 MB that could be read back", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
