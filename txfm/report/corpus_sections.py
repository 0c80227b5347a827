"""Sections of the page about the corpus."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from txfm.report.corpus_figures import (
    composition,
    counts_kept,
    drops,
    gene_overlap,
    kept_share,
    reason_in_words,
    samples_of,
)
from txfm.report.drawing import picture
from txfm.report.page import Section, Table, citation_cell, short, study_cell
from txfm.report.results import Build

BATCHES_SHOWN = 12
NO_REPORTS = "This results folder has no QC reports (qc/*.json), so nothing can be said about it."
NOT_STATED = "not stated in the corpus"
ASSAYS = {"sc": "single cell", "bulk": "bulk"}


def studies_section(build: Build) -> Section:
    """What was built, from which studies."""
    titles, known = build.titles(), build.corpus.get("studies", {})
    stores = {(store["study"], store["recipe"]): store for store in build.corpus["stores"] if store["split"] == "train"}
    rows = [
        [
            study_cell(titles[study, recipe]),
            known.get(study, {}).get("title", ""),
            "training",
            ASSAYS[store["assay"]],
            store["count_kind"],
            f"{store['n_genes_measured']:,}",
        ]
        for (study, recipe), store in sorted(stores.items())
    ]
    rows += [
        [
            study_cell(titles[report["study"], report["recipe"]]),
            "",
            "held out",
            ASSAYS[report["assay"]],
            report["counts"]["kind"],
            f"{report['genes']['kept']:,}",
        ]
        for report in build.reports
        if report["role"] != "train"
    ]
    names = {study: title for (study, _), title in titles.items()}
    origins = [
        [study_cell(names[study]), citation_cell(known.get(study)), known.get(study, {}).get("licence") or NOT_STATED]
        for study in sorted({study for study, _ in stores})
    ]
    axis = build.corpus["gene_axis"]
    digest = Markup("Corpus digest <code>{}</code>: equal digests mean equal counts, row by row.").format(
        build.corpus["digest"]
    )
    axis_text = Markup(
        "The gene axis has {:,} genes ({}), digest <code>{}</code>. Every store has these columns in this order."
    )
    columns = ["study", "title", "role", "assay", "counts", "genes measured"]
    return Section(
        key="studies",
        title="What was built",
        paragraphs=[digest, axis_text.format(axis["n_genes"], axis["source"], axis["sha256"])],
        tables=[
            Table(caption="Studies", columns=columns, rows=rows, numbers=frozenset({"genes measured"})),
            Table(
                caption="Citations and licences of the training studies",
                columns=["study", "citation", "licence"],
                rows=origins,
            ),
        ],
    )


def variants_section(build: Build, figures: Path) -> Section:
    """Samples per study and split of each variant."""
    if not build.variants:
        return Section(key="variants", title="Variants", paragraphs=["No variant was composed in this build."])
    titles = build.titles()
    overview = [
        [
            variant["name"],
            f"{variant['totals']['train']['n_samples']:,}",
            f"{variant['totals']['validation']['n_samples']:,}",
            f"{variant['vocabulary']['n_genes']:,}",
            f"{len(variant['studies'])}",
            short(variant["digest"]),
        ]
        for variant in build.variants
    ]
    sizes = [
        [variant["name"], study_cell(titles[member]), f"{n_train:,}", f"{n_validation:,}"]
        for variant in build.variants
        for member, (n_train, n_validation) in sorted(samples_of(variant).items())
    ]
    numbers = frozenset({"training samples", "validation samples", "genes", "studies"})
    largest = max(build.variants, key=lambda variant: variant["totals"]["train"]["n_samples"])
    drawn = picture(
        "composition",
        lambda theme: composition(build, theme),
        figures,
        title="Composition",
        alt=f"Bars of samples per study for {len(build.variants)} variants; the largest is {largest['name']} with "
        f"{largest['totals']['train']['n_samples']:,} training samples. All numbers are in the table below.",
        caption="Solid: training. Pale: validation. Numbers: training + validation samples.",
    )
    held_out = ", ".join(sorted({study for variant in build.variants for study in variant["held_out"]})) or "none"
    return Section(
        key="variants",
        title="Variants",
        paragraphs=[
            "A variant is a choice of studies over the same stores; no count is copied.",
            f"Held out of every variant: {held_out}.",
        ],
        pictures=[drawn],
        tables=[
            Table(
                caption="Variants",
                columns=["variant", "training samples", "validation samples", "genes", "studies", "digest"],
                rows=overview,
                numbers=numbers,
            ),
            Table(
                caption="Samples per variant, study and split",
                columns=["variant", "study", "training samples", "validation samples"],
                rows=sizes,
                numbers=numbers,
                folded=True,
            ),
        ],
    )


def drops_section(build: Build, figures: Path) -> Section:
    """What was dropped, by reason."""
    if not build.reports:
        return Section(key="dropped", title="What was dropped and why", paragraphs=[NO_REPORTS])
    pictures = [
        picture(
            f"dropped_{what}",
            lambda theme, what=what: drops(build, theme, what),  # type: ignore[misc]
            figures,
            title=f"Dropped {what}",
            alt=f"Bars of the share of {what} that each study lost for each reason; the table below has all numbers.",
            caption=caption,
        )
        for what, caption in (
            ("samples", "Share of the samples that were read."),
            (
                "genes",
                "Share of the rows of the study's own gene table. A dropped gene is unknown for the study, not zero.",
            ),
        )
    ]
    return Section(
        key="dropped",
        title="What was dropped and why",
        paragraphs=["Every dropped sample and gene has one reason: the first that applied."],
        pictures=pictures,
        tables=[_drop_table(build, "samples", "read"), _drop_table(build, "genes", "in_table")],
    )


def _drop_table(build: Build, what: str, total: str) -> Table:
    titles, rows = build.titles(), []
    for report in build.reports:
        counts = report[what]
        for reason, number in sorted(counts["dropped"].items(), key=lambda item: -item[1]) or [("nothing_dropped", 0)]:
            examples = ", ".join(counts.get("examples", {}).get(reason, []))
            name = study_cell(titles[report["study"], report["recipe"]])
            rows.append(
                [name, f"{counts[total]:,}", f"{counts['kept']:,}", reason_in_words(reason), f"{number:,}", examples]
            )
    columns = ["study", "in the source", "kept", "reason", "dropped", "examples"]
    if what == "samples":
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Table(
        caption=f"Dropped {what}, every reason",
        columns=columns,
        rows=rows,
        numbers=frozenset({"in the source", "kept", "dropped"}),
        folded=True,
    )


def genes_section(build: Build, figures: Path) -> Section:
    """Which genes the studies share."""
    if not build.measured:
        return Section(key="genes", title="Gene overlap", paragraphs=["The stores are not in this results folder."])
    measured = list(build.measured.values())
    union, shared = sum(measured[1:], start=measured[0]) > 0, measured[0].copy()
    for row in measured[1:]:
        shared &= row
    n_union, n_shared = int(union.sum()), int(shared.sum())
    in_words = f"{n_union:,} genes are measured by at least one study, {n_shared:,} by all {len(measured)}."
    drawn = picture(
        "gene_overlap",
        lambda theme: gene_overlap(build, theme),
        figures,
        title="Genes measured by pairs of studies",
        alt=f"Matrix of the genes that each pair of {len(measured)} studies measured. {in_words}",
        caption="Diagonal: genes that the study measured. Brighter: more genes (logarithmic).",
    )
    return Section(
        key="genes",
        title="Gene overlap",
        paragraphs=[
            in_words,
            "A gene that a study did not measure is unknown there, and never a target of the loss.",
        ],
        pictures=[drawn],
    )


def counts_section(build: Build, figures: Path) -> Section:
    """How many of the counts are left, and whether they were whole numbers."""
    if not build.reports:
        return Section(key="counts", title="Counts", paragraphs=[NO_REPORTS])
    drawn = picture(
        "counts_kept",
        lambda theme: counts_kept(build, theme),
        figures,
        title="Share of the counts kept",
        alt="Bars of the share of counts kept per study: "
        + ", ".join(f"{entry['study']} {kept_share(entry):.1%}" for entry in build.reports),
        caption="Solid: counts of kept samples on kept genes. Pale: counts on genes of the axis. "
        "Whole: all counts of the samples that the catalogue and the recipe want.",
    )
    rows = [_counts_row(build, report) for report in build.reports]
    columns = ["study", "kind", "counts", "kept", "values rounded", "largest rounding"]
    table = Table(caption="Counts", columns=columns, rows=rows, numbers=frozenset(columns[2:]))
    return Section(key="counts", title="Counts", pictures=[drawn], tables=[table])


def _counts_row(build: Build, report: dict[str, Any]) -> list[Any]:
    counts = report["counts"]
    return [
        study_cell(build.titles()[report["study"], report["recipe"]]),
        counts["kind"],
        f"{counts['total']:,}",
        f"{kept_share(report):.2%}",
        f"{counts['n_rounded']:,}",
        f"{counts['max_rounding']:.2g}",
    ]


def batches_section(build: Build) -> Section:
    """Which batches are held out for validation."""
    if not build.reports:
        return Section(key="batches", title="Batches held out", paragraphs=[NO_REPORTS])
    titles, rows = build.titles(), []
    for report in build.reports:
        batches = report["batches"]
        chosen = batches["validation"]
        listed = ", ".join(chosen[:BATCHES_SHOWN]) + (
            f" and {len(chosen) - BATCHES_SHOWN:,} more" if chosen[BATCHES_SHOWN:] else ""
        )
        n_validation = report["splits"].get("validation", {}).get("n_samples", 0)
        name = study_cell(titles[report["study"], report["recipe"]])
        rows.append([name, f"{batches['n']:,}", f"{len(chosen):,}", f"{n_validation:,}", listed or batches["note"]])
    columns = ["study", "batches", "for validation", "validation samples", "which"]
    table = Table(caption="Batches per study", columns=columns, rows=rows, numbers=frozenset(columns[1:4]))
    return Section(
        key="batches",
        title="Batches held out",
        paragraphs=["Validation samples come from whole batches: no batch is in training and in validation."],
        tables=[table],
    )
