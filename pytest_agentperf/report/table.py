"""Tables of aligned columns."""

from collections.abc import Mapping, Sequence

__all__ = ["table_rows"]


def table_rows(columns: Mapping[str, str], cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the lines of a table: those of its head, and those of each row.

    Args:
        columns: Their names, each with `left` or `right`; empty ones are left out.
        cells: Texts of one line or several, in order of *columns*.
    """
    from tabulate import tabulate

    used = [place for place in range(len(columns)) if any(row[place] for row in cells)]
    kept = [[row[place] for place in used] for row in cells]
    text = tabulate(
        kept,
        headers=[list(columns)[place] for place in used],
        colalign=[list(columns.values())[place] for place in used],
        disable_numparse=True,
    )
    lines = iter([line.rstrip() for line in text.splitlines()])
    heights = [max(cell.count("\n") for cell in row) + 1 for row in kept]
    return [[next(lines) for _ in range(height)] for height in (2, *heights)]
