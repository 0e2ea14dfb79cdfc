"""Makes the pictures of the README from a real run: python examples/pictures/make.py.

It runs the tour, renders its report in chromium (apt-get install chromium), and draws what the
terminal showed.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
COLOURS: Final = {"31": "#ff8a80", "32": "#5cc78f", "33": "#e3b04f", "36": "#7ec9d8", "1": "#fff"}
SHOWN: Final = 17  # lines of the terminal
COLUMNS: Final = 146
PLAIN: Final = "#d5d8df"


def main() -> None:
    """Run the tour and write `page.png`, `page-dark.png` and `terminal.svg`."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        printed = run_tour(page)
        for name, scheme in (("page.png", "light"), ("page-dark.png", "dark")):
            take_picture(browser, page, HERE / name, scheme)
    (HERE / "terminal.svg").write_text(draw(printed.splitlines()), encoding="utf-8")


def run_tour(page: Path) -> str:
    """Run the tests of the tour, write their report to *page*, and return what was printed."""
    options = ["--perf-budget", str(HERE / "budgets.toml"), f"--perf-report=html={page}"]
    quiet = ["-q", "--tb=no", "--no-header", "--color=yes", "-rN", "-pno:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-opython_files=tour.py", "tour.py"]
    environment = {**os.environ, "COLUMNS": str(COLUMNS)}
    done = subprocess.run(  # noqa: S603 -- nothing in it comes from outside
        [*command, *options, *quiet],
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stdout


def take_picture(browser: str, page: Path, picture: Path, scheme: str) -> None:
    """Write what *page* looks like in a window to *picture*."""
    dark = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"]
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    window = [
        "--window-size=1180,1470",
        "--force-device-scale-factor=0.7",
        f"--screenshot={picture}",
    ]
    profile = f"--user-data-dir={page.parent / scheme}"
    chosen = dark if scheme == "dark" else []
    subprocess.run(  # noqa: S603 -- the browser was looked up
        [browser, *options, *window, profile, *chosen, page.as_uri()],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def draw(lines: list[str]) -> str:
    """Return what a terminal shows of *lines*, whose colours are ANSI escapes, as SVG."""
    lines = [line for line in lines if line.strip()]
    start = next(n for n, line in enumerate(lines) if " performance " in line)
    shown = lines[start : start + SHOWN]
    height = 19 * len(shown) + 28
    rows = "".join(
        f'<text x="16" y="{30 + 19 * number}" xml:space="preserve">{"".join(spans(line))}</text>'
        for number, line in enumerate(shown)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {8 * COLUMNS + 32} {height}">'
        f'<rect width="100%" height="100%" rx="8" fill="#1b1e24"/><g fill="{PLAIN}"'
        f' font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace"'
        f' font-size="13.2">{rows}</g></svg>\n'
    )


def spans(line: str) -> Iterator[str]:
    """Yield the parts of *line* in their colours; no more of it than fits."""
    colour, room = PLAIN, COLUMNS
    for part in re.split(r"(\x1b\[[\d;]*m)", line):
        if part.startswith("\x1b["):
            codes = part[2:-1].split(";")
            colour = next((COLOURS[code] for code in codes if code in COLOURS), PLAIN)
        elif part and room > 0:
            text = part if len(part) <= room else f"{part[: room - 1]}…"
            room -= len(part)
            yield f'<tspan fill="{colour}">{html.escape(text)}</tspan>'


if __name__ == "__main__":
    main()
