"""Sections of the page about the corpus."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
from txfm.report.page import Section, citation_cell, study_cell
from txfm.report.results import Build
from txfm.report.tables import Cell, Column, Table, digest, number, words

BATCHES_SHOWN = 12
NO_REPORTS = "This results folder has no QC reports (qc/*.json), so nothing can be said about it."
NOT_STATED = "not stated in the corpus"
ASSAYS = {"sc": "single cell", "bulk": "bulk"}
STUDY = Column(title="study", text=lambda record: study_cell(record["study"]))


def studies_section(build: Build) -> Section:
    """What was built, from which studies."""
    titles, known = build.titles(), build.corpus.get("studies", {})
    stores = {(store["study"], store["recipe"]): store for store in build.corpus["stores"] if store["split"] == "train"}
    rows = [
        {
            "study": titles[study, recipe],
            "title": known.get(study, {}).get("title", ""),
            "role": "training",
            "assay": ASSAYS[store["assay"]],
            "counts": store["count_kind"],
            "genes_measured": store["n_genes_measured"],
            "recipe": recipe,
        }
        for (study, recipe), store in sorted(stores.items())
    ]
    rows += [
        {
            "study": titles[report["study"], report["recipe"]],
            "title": "",
            "role": "held out",
            "assay": ASSAYS[report["assay"]],
            "counts": report["counts"]["kind"],
            "genes_measured": report["genes"]["kept"],
            "recipe": report["recipe"],
        }
        for report in build.reports
        if report["role"] != "train"
    ]
    names = {study: title for (study, _), title in titles.items()}
    origins = []
    for study in sorted({study for study, _ in stores}):
        entry = known.get(study, {})
        citation = entry.get("citation") or {}
        origins.append(
            {
                "study": names[study],
                "id": study,
                "citation": citation.get("text") or "",
                "year": citation.get("year"),
                "doi": citation.get("doi") or "",
                "licence": entry.get("licence") or NOT_STATED,
            }
        )
    axis = build.corpus["gene_axis"]
    digest_text = Markup("Corpus digest <code>{}</code>: equal digests mean equal counts, row by row.").format(
        build.corpus["digest"]
    )
    axis_text = Markup(
        "The gene axis has {:,} genes ({}), digest <code>{}</code>. Every store has these columns in this order."
    )
    files = Markup("Records: {}, {}, and a QC report a study (below).").format(
        build.link(build.folder / "corpus" / "corpus.json"), build.link(build.folder / "corpus" / "NOTICE")
    )
    columns = [STUDY, *(words(name, name) for name in ("title", "role", "assay", "counts"))]
    return Section(
        key="studies",
        title="What was built",
        paragraphs=[digest_text, axis_text.format(axis["n_genes"], axis["source"], axis["sha256"]), files],
        tables=[
            Table(
                name="studies",
                caption="Studies",
                columns=[*columns, number("genes measured", "genes_measured")],
                records=rows,
            ),
            Table(
                name="citations",
                caption="Citations and licences of the training studies",
                columns=[
                    STUDY,
                    Column(title="citation", text=lambda record: citation_cell(known.get(record["id"]))),
                    words("licence", "licence"),
                ],
                records=origins,
            ),
        ],
    )


def variants_section(build: Build, figures: Path) -> Section:
    """Samples per study and split of each variant."""
    if not build.variants:
        return Section(key="variants", title="Variants", paragraphs=["No variant was composed in this build."])
    titles = build.titles()
    overview = [
        {
            "variant": variant["name"],
            "training_samples": variant["totals"]["train"]["n_samples"],
            "validation_samples": variant["totals"]["validation"]["n_samples"],
            "genes": variant["vocabulary"]["n_genes"],
            "studies": len(variant["studies"]),
            "digest": variant["digest"],
        }
        for variant in build.variants
    ]
    sizes = [
        {
            "variant": variant["name"],
            "study": titles[member],
            "training_samples": n_train,
            "validation_samples": n_validation,
        }
        for variant in build.variants
        for member, (n_train, n_validation) in sorted(samples_of(variant).items())
    ]
    samples = [number("training samples", "training_samples"), number("validation samples", "validation_samples")]
    manifests = build.folder / "corpus" / "variants"
    largest = max(build.variants, key=lambda variant: variant["totals"]["train"]["n_samples"])
    drawn = picture(
        "composition",
        lambda theme: composition(build, theme),
        pd.DataFrame(sizes),
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
                name="variants",
                caption="Variants",
                columns=[
                    Column(
                        title="variant",
                        text=lambda record: build.link(manifests / f"{record['variant']}.json", record["variant"]),
                    ),
                    *samples,
                    number("genes", "genes"),
                    number("studies", "studies"),
                    digest("digest", "digest"),
                ],
                records=overview,
            ),
            Table(
                name="variant_samples",
                caption="Samples per variant, study and split",
                columns=[words("variant", "variant"), STUDY, *samples],
                records=sizes,
                folded=True,
            ),
        ],
    )


def drops_section(build: Build, figures: Path) -> Section:
    """What was dropped, by reason."""
    if not build.reports:
        return Section(key="dropped", title="What was dropped and why", paragraphs=[NO_REPORTS])
    pictures, tables = [], []
    for what, caption in (
        ("samples", "Share of the samples that were read."),
        (
            "genes",
            "Share of the rows of the study's own gene table. A dropped gene is unknown for the study, not zero.",
        ),
    ):
        records = drop_records(build, what)
        pictures.append(
            picture(
                f"dropped_{what}",
                partial(drops, build, what=what),
                pd.DataFrame(records),
                figures,
                title=f"Dropped {what}",
                alt=f"Bars of the share of {what} that each study lost for each reason; a table has all numbers.",
                caption=caption,
            )
        )
        tables.append(_drop_table(build, records, what))
    return Section(
        key="dropped",
        title="What was dropped and why",
        paragraphs=["Every dropped sample and gene has one reason: the first that applied."],
        pictures=pictures,
        tables=tables,
    )


def drop_records(build: Build, what: str) -> list[dict[str, Any]]:
    """A row a study and reason, for "samples" or "genes"; of a study that lost nothing, one."""
    titles, records = build.titles(), []
    for report in build.reports:
        counts = report[what]
        for reason, n_dropped in sorted(counts["dropped"].items(), key=lambda item: -item[1]) or [("", 0)]:
            records.append(
                {
                    "study": titles[report["study"], report["recipe"]],
                    "in_the_source": counts["read" if what == "samples" else "in_table"],
                    "kept": counts["kept"],
                    "reason": reason,
                    "dropped": n_dropped,
                    "examples": ", ".join(counts.get("examples", {}).get(reason, [])),
                    "report": f"{report['study']}.{report['recipe']}",
                }
            )
    return records


def _drop_table(build: Build, records: list[dict[str, Any]], what: str) -> Table:
    def report(record: Mapping[str, Any]) -> Cell:
        return build.link(build.folder / "qc" / f"{record['report']}.json", "QC report")

    columns = [
        STUDY,
        number("in the source", "in_the_source"),
        number("kept", "kept"),
        Column(title="reason", text=lambda record: reason_in_words(record["reason"]) or "nothing dropped"),
        number("dropped", "dropped"),
        *([words("examples", "examples")] if what == "genes" else []),
        Column(title="record", text=report),
    ]
    return Table(
        name=f"dropped_{what}",
        caption=f"Dropped {what}, every reason",
        columns=columns,
        records=records,
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
    pairs = _shared_genes(build)
    in_words = f"{n_union:,} genes are measured by at least one study, {n_shared:,} by all {len(measured)}."
    drawn = picture(
        "gene_overlap",
        lambda theme: gene_overlap(build, theme),
        pd.DataFrame(pairs),
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
        tables=[
            Table(
                name="gene_overlap",
                caption="Genes measured by pairs of studies",
                columns=[
                    STUDY,
                    Column(title="and", text=lambda record: study_cell(record["and"])),
                    number("genes", "genes"),
                ],
                records=pairs,
                folded=True,
            )
        ],
    )


def _shared_genes(build: Build) -> list[dict[str, Any]]:
    titles = build.titles()
    return [
        {"study": titles[one], "and": titles[other], "genes": int(np.sum(build.measured[one] & build.measured[other]))}
        for one, other in combinations_with_replacement(sorted(build.measured), 2)
    ]


def counts_section(build: Build, figures: Path) -> Section:
    """How many of the counts are left, and whether they were whole numbers."""
    if not build.reports:
        return Section(key="counts", title="Counts", paragraphs=[NO_REPORTS])
    rows = [_counts_row(build, report) for report in build.reports]
    drawn = picture(
        "counts_kept",
        lambda theme: counts_kept(build, theme),
        pd.DataFrame(rows),
        figures,
        title="Share of the counts kept",
        alt="Bars of the share of counts kept per study: "
        + ", ".join(f"{entry['study']} {kept_share(entry):.1%}" for entry in build.reports),
        caption="Solid: counts of kept samples on kept genes. Pale: counts on genes of the axis. "
        "Whole: all counts of the samples that the catalogue and the recipe want.",
    )
    columns = [
        STUDY,
        words("kind", "kind"),
        number("counts", "counts"),
        number("kept", "kept_share", ".2%"),
        number("values rounded", "n_rounded"),
        number("largest rounding", "max_rounding", ".2g"),
    ]
    table = Table(name="counts", caption="Counts", columns=columns, records=rows)
    return Section(key="counts", title="Counts", pictures=[drawn], tables=[table])


def _counts_row(build: Build, report: dict[str, Any]) -> dict[str, Any]:
    counts = report["counts"]
    return {
        "study": build.titles()[report["study"], report["recipe"]],
        "kind": counts["kind"],
        "counts": counts["total"],
        "kept_share": kept_share(report),
        "mapped_share": counts["mapped_share"],
        "n_rounded": counts["n_rounded"],
        "max_rounding": counts["max_rounding"],
    }


def batches_section(build: Build) -> Section:
    """Which batches are held out for validation."""
    if not build.reports:
        return Section(key="batches", title="Batches held out", paragraphs=[NO_REPORTS])
    rows = [
        {
            "study": build.titles()[report["study"], report["recipe"]],
            "batches": report["batches"]["n"],
            "for_validation": len(report["batches"]["validation"]),
            "validation_samples": report["splits"].get("validation", {}).get("n_samples", 0),
            "which": list(report["batches"]["validation"]),
            "note": report["batches"]["note"],
        }
        for report in build.reports
    ]
    columns = [
        STUDY,
        number("batches", "batches"),
        number("for validation", "for_validation"),
        number("validation samples", "validation_samples"),
        Column(title="which", text=lambda record: _listed(record["which"]) or record["note"]),
    ]
    table = Table(name="batches", caption="Batches per study", columns=columns, records=rows)
    return Section(
        key="batches",
        title="Batches held out",
        paragraphs=["Validation samples come from whole batches: no batch is in training and in validation."],
        tables=[table],
    )


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - BATCHES_SHOWN:,} more" if names[BATCHES_SHOWN:] else ""
    return ", ".join(names[:BATCHES_SHOWN]) + rest
