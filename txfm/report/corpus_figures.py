"""Pictures of the corpus: composition, what was dropped and why, gene overlap, counts kept."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from txfm.report.drawing import bare_bars, new_figure
from txfm.report.palette import Look, Theme, looks
from txfm.report.results import Build

WIDTH_INCHES = 9.2
PANELS_PER_ROW = 3
LONGEST_LABEL = 36  # characters of one line
PALE = 0.4  # opacity of validation samples


def samples_of(variant: dict[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    """(study, recipe) to its numbers of training and validation samples in a variant."""
    sizes = dict.fromkeys(variant["studies"].items(), (0, 0))
    for store in variant["stores"]:
        member = (store["study"], store["recipe"])
        n_train, n_validation = sizes[member]
        if store["split"] == "train":
            sizes[member] = (n_train + store["n_samples"], n_validation)
        else:
            sizes[member] = (n_train, n_validation + store["n_samples"])
    return sizes


def composition(build: Build, theme: Theme) -> Figure:
    """Samples per study and split, one panel a variant."""
    study_looks, titles = looks(build.studies), build.titles()
    members = sorted({member for variant in build.variants for member in variant["studies"].items()})
    n_columns = min(PANELS_PER_ROW, len(build.variants))
    n_rows = math.ceil(len(build.variants) / n_columns)
    figure = new_figure(WIDTH_INCHES, n_rows * (0.8 + 0.3 * len(members)))
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, variant in zip(panels, build.variants, strict=False):
        sizes = samples_of(variant)
        for row, member in enumerate(members):
            _split_bar(axes, row, sizes.get(member), study_looks[member[0]], theme)
        axes.set_title(f"{variant['name']}\n", pad=-4)
        totals = [variant["totals"][split]["n_samples"] for split in ("train", "validation")]
        axes.text(0, 1.02, f"{totals[0]:,} + {totals[1]:,} samples", transform=axes.transAxes, color=theme.muted)
    for axes in panels:
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
    for axes in panels[len(build.variants) :]:
        axes.set_visible(False)
    panels[0].set_yticks(range(len(members)), [titles[member] for member in members])
    panels[0].set_xticks([])
    panels[0].invert_yaxis()
    largest = max(sum(sizes) for variant in build.variants for sizes in samples_of(variant).values())
    panels[0].set_xlim(0, largest * 1.7)  # room for the numbers behind the bars
    return figure


def _split_bar(axes: Axes, row: int, sizes: tuple[int, int] | None, look: Look, theme: Theme) -> None:
    if sizes is None:
        axes.annotate(
            "not in it", (0, row), (3, 0), textcoords="offset points", va="center", color=theme.muted, style="italic"
        )
        return
    n_train, n_validation = sizes
    _bar(axes, row, n_train, look, theme)
    _bar(axes, row, n_validation, look, theme, left=n_train, alpha=PALE)
    text = f"{n_train:,}" + (f" + {n_validation:,}" if n_validation else "")
    axes.annotate(text, (n_train + n_validation, row), (4, 0), textcoords="offset points", va="center")


def _bar(
    axes: Axes, row: float, length: float, look: Look, theme: Theme, left: float = 0.0, alpha: float = 1.0
) -> None:
    axes.barh(
        row,
        length,
        left=left,
        color=look.colour,
        alpha=alpha,
        height=0.68,
        hatch=look.hatch,
        edgecolor=theme.ground,
        linewidth=0,
    )


def _on_two_lines(name: str, reason: str = "") -> str:
    """A label that leaves room for the picture: a long one is broken before the reason, or before the recipe."""
    text = f"{name}: {reason}" if reason else name
    if len(text) <= LONGEST_LABEL:
        return text
    return f"{name}:\n{reason}" if reason else name.replace(" (", "\n(", 1)


def reason_in_words(reason: str) -> str:
    """A reason as the reports name it, for people."""
    return reason.replace("_", " ")


def drops(build: Build, theme: Theme, what: str) -> Figure:
    """Share of samples or genes that each study lost for each reason, with their number.

    Parameters
    ----------
    build : Build
    theme : Theme
    what : {"samples", "genes"}
        A gene is counted in the study's own table.
    """
    study_looks, titles = looks(build.studies), build.titles()
    total = "read" if what == "samples" else "in_table"
    groups = []
    for report in build.reports:
        counts = report[what]
        bars = [
            (reason_in_words(reason), number)
            for reason, number in sorted(counts["dropped"].items(), key=lambda x: -x[1])
        ]
        groups.append((report, counts[total], bars or [("nothing dropped", 0)]))
    n_bars = sum(len(bars) for _, _, bars in groups)
    figure = new_figure(WIDTH_INCHES, 0.3 + 0.34 * n_bars + 0.16 * len(groups))
    axes = figure.subplots()
    row, rows, labels = 0.0, [], []
    largest = max((number / whole for _, whole, bars in groups for _, number in bars if whole), default=0)
    for report, whole, bars in groups:
        name = titles[report["study"], report["recipe"]]
        for index, (reason, number) in enumerate(bars):
            share = number / whole if whole else 0.0
            _bar(axes, row, share, study_looks[report["study"]], theme)
            text = f"{number:,} of {whole:,} ({share:.1%})" if number else f"0 of {whole:,}"
            axes.annotate(text, (share, row), (4, 0), textcoords="offset points", va="center")
            rows.append(row)
            labels.append(_on_two_lines(name, reason) if index == 0 else reason)
            row += 1
        row += 0.55
    axes.set_yticks(rows, labels)
    bare_bars(axes)
    axes.set_xlim(0, max(largest, 0.05) * 1.8)  # room for the numbers behind the bars
    axes.set_ylim(row - 0.9, -0.7)
    return figure


def counts_kept(build: Build, theme: Theme) -> Figure:
    """Share of the counts that are on the gene axis, and that are left in the store."""
    study_looks, titles = looks(build.studies), build.titles()
    figure = new_figure(WIDTH_INCHES, 0.35 + 0.36 * len(build.reports))
    axes = figure.subplots()
    for row, report in enumerate(build.reports):
        mapped, kept = report["counts"]["mapped_share"], kept_share(report)
        look = study_looks[report["study"]]
        _bar(axes, row, kept, look, theme)
        _bar(axes, row, max(0.0, mapped - kept), look, theme, left=kept, alpha=PALE)
        text = f"{kept:.2%} kept, {mapped:.2%} on the gene axis"
        axes.annotate(text, (max(mapped, kept), row), (4, 0), textcoords="offset points", va="center")
    names = [_on_two_lines(titles[entry["study"], entry["recipe"]]) for entry in build.reports]
    axes.set_yticks(range(len(names)), names)
    bare_bars(axes)
    axes.set_xlim(0, 1.8)  # room for the numbers behind the bars
    return figure


def kept_share(report: dict[str, Any]) -> float:
    """Counts in the study's stores over all counts of the samples that were candidates."""
    counts = report["counts"]
    return counts["kept_samples_total"] / counts["total"] if counts["total"] else 0.0


def gene_overlap(build: Build, theme: Theme) -> Figure:
    """Genes that pairs of studies both measured, and genes by the number of studies that measured them."""
    titles = build.titles()
    members = sorted(build.measured)
    measured = np.stack([build.measured[member] for member in members]).astype(np.int64)
    shared = measured @ measured.T
    names = [_on_two_lines(titles[member]) for member in members]
    longest = max(len(line) for name in names for line in name.split("\n"))
    # Slanted names below the matrix take their length times the sine of their angle
    figure = new_figure(WIDTH_INCHES, 0.8 + 0.045 * longest + 0.42 * len(members))
    matrix, bars = figure.subplots(1, 2, width_ratios=[2.1, 1])
    heat = np.log10(shared + 1.0)
    matrix.imshow(heat, cmap="cividis", aspect="auto")
    for row, column in np.ndindex(*shared.shape):
        dark_cell = heat[row, column] < (heat.min() + heat.max()) / 2
        matrix.text(
            column,
            row,
            f"{shared[row, column]:,}",
            ha="center",
            va="center",
            fontsize=8.5,
            color="#ffffff" if dark_cell else "#000000",
            fontweight="bold" if row == column else "normal",
        )
    matrix.set_yticks(range(len(names)), names)
    matrix.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    matrix.tick_params(length=0, labelcolor=theme.text)
    matrix.spines[:].set_visible(False)
    matrix.set_title("measured by both studies")
    numbers = np.bincount(measured.sum(axis=0), minlength=len(members) + 1)[1:]
    bars.barh(range(1, len(members) + 1), numbers, color=theme.muted, height=0.68)
    for n_studies, number in enumerate(numbers, start=1):
        bars.annotate(f"{number:,}", (number, n_studies), (4, 0), textcoords="offset points", va="center")
    bars.set_yticks(
        range(1, len(members) + 1), [f"{n} {'study' if n == 1 else 'studies'}" for n in range(1, len(members) + 1)]
    )
    bare_bars(bars)
    bars.set_xlim(0, max(numbers.max(), 1) * 1.4)
    bars.set_title("measured by exactly")
    return figure
