"""Results for the reader: numbers with units, tables on the terminal, plots as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
if not console.is_terminal:  # a log or a pipe has no width
    console = Console(highlight=False, width=240)


class Shown(NamedTuple):
    """A table as it was shown; the first `left` columns hold words, the others numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int


def show(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1
) -> Shown:
    """Print a table, and return it to be kept with the results."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return Shown(title, columns, rows, left)


def seconds(value: float | None) -> str:
    """Three digits, with the unit that suits them."""
    if value is None:
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def mebibytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 2**20:.1f}"


def error(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def dots(path: Path, title: str, groups: Mapping[str, Mapping[str, float]], label: str) -> None:
    """A row for each name and a mark for each of its values, on a logarithmic axis."""
    plt = _pyplot()
    names = list(groups)
    series = list(dict.fromkeys(key for values in groups.values() for key in values))
    figure, axis = plt.subplots(figsize=(8, 1.3 + 0.19 * len(names)), layout="constrained")
    for key, marker in zip(series, "o^sDv", strict=False):
        rows = [row for row, name in enumerate(names) if key in groups[name]]
        values = [groups[names[row]][key] for row in rows]
        axis.plot(values, rows, marker, markersize=5, alpha=0.8, label=key)
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if _within(t, groups)]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(alpha=0.3)
    axis.set_xlabel(label)
    figure.suptitle(title, fontsize=10)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper right", fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"plot: {path}")


def _within(tick: float, groups: Mapping[str, Mapping[str, float]]) -> bool:
    values = [value for series in groups.values() for value in series.values()]
    return tick == 1 or min(values) / 2 <= tick <= max(values) * 2


def lines(
    path: Path,
    title: str,
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    labels: tuple[str, str],
) -> None:
    """Curves on logarithmic axes, one panel beside the other; `labels` of x and y."""
    plt = _pyplot()
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(3.6 * len(panels), 3.4),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for axis, (name, curves) in zip(axes[0], panels.items(), strict=True):
        for key, points in curves.items():
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=key)
        ticks = sorted({x for points in curves.values() for x, _ in points})
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.set_xlabel(name if not labels[0] else f"{name} {labels[0]}")
    axes[0][0].set_ylabel(labels[1])
    axes[0][0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"plot: {path}")


def _pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
