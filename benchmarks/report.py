"""Write the tables of `benchmarks/results/*.json` into `benchmarks/README.md`, between its markers.

    python benchmarks/report.py [--results FOLDER] [--readme FILE] [--check]

Each result file becomes a section: its tables, the plot of the same name where there is one, and
where, when, with what and by which command it was measured. Tables of many rows can be folded out.
`--check` changes nothing, and fails if the page is not what the results say.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from _common import ROOT, Results
from _tables import Shown

HERE = ROOT / "benchmarks"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
LONG = 24  # rows


def markdown(table: Shown) -> str:
    """A table in Markdown; one of many rows is folded."""
    marks = [":--" if index < table.left else "--:" for index in range(len(table.columns))]
    lines = [_line(table.columns), _line(marks), *map(_line, table.rows)]
    text = "\n".join(lines)
    if len(table.rows) <= LONG:
        return f"**{table.title}**\n\n{text}"
    summary = f"{table.title} ({len(table.rows)} rows)"
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def section(path: Path, results: Results) -> str:
    """One result file."""
    here = results.environment
    settings = [str(results.settings[n]) for n in ("backend", "dtype") if n in results.settings]
    heading = f"### {' '.join([results.benchmark, *settings])}".replace("_", " ")
    if here.versions.get("numba", "").endswith("switched off"):
        heading += ", without Numba"
    device = here.accelerator or f"{here.processor}, {here.threads} threads"
    if here.products and not here.accelerator:
        device += f", NumPy's products by OpenBLAS for {here.products}"
    versions = ", ".join(f"{name} {version}" for name, version in here.versions.items())
    parts = [heading]
    # The shorter table first: sums before what they sum up.
    tables = sorted((Shown(*table) for table in results.tables), key=lambda t: len(t.rows))
    parts += map(markdown, tables)
    if path.with_suffix(".png").exists():
        plot = path.with_suffix(".png")
        parts.append(f"![{results.benchmark}]({plot.parent.name}/{plot.name})")
    parts.append(
        f"`{here.command}` on {device}; {here.date[:10]}, commit {here.commit}, "
        f"Python {here.python}; {versions}. Every figure: "
        f"[{path.name}]({path.parent.name}/{path.name})."
    )
    return "\n\n".join(parts)


def report(folder: Path) -> str:
    """All sections, in the order of the file names."""
    paths = sorted(folder.glob("*.json"))
    return "\n\n".join(section(path, Results.read(path)) for path in paths) or "No results yet."


def inserted(page: str, text: str) -> str:
    """The page with its part between the markers replaced."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page must hold {BEGIN} and {END} once each")
    pattern = re.escape(BEGIN) + ".*" + re.escape(END)
    return re.sub(pattern, lambda _: f"{BEGIN}\n\n{text}\n\n{END}", page, flags=re.DOTALL)


def main() -> int:
    command = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command.add_argument("--results", type=Path, default=HERE / "results", help="folder of JSON")
    command.add_argument("--readme", type=Path, default=HERE / "README.md", help="page to change")
    command.add_argument("--check", action="store_true", help="only tell whether it is up to date")
    options = command.parse_args()
    page = options.readme.read_text()
    new = inserted(page, report(options.results))
    if options.check:
        print("up to date" if new == page else "run python benchmarks/report.py")
        return 0 if new == page else 1
    options.readme.write_text(new)
    print(f"written: {options.readme}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
