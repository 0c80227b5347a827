"""Write all nine studies in the formats of their sources, a sheet and a config that build them, and the truth."""

from __future__ import annotations

import csv
import gzip
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from curation.axis import GeneAxis
from curation.errors import InputError
from curation.schema_check import load_yaml, nearest
from curation.simulate.atlases import breast_cancer, gastric_metaplasia, gbmap, tumor_microenvironment
from curation.simulate.axis_names import AxisNames
from curation.simulate.bulk import gtex, tcga
from curation.simulate.candidates import Recipe
from curation.simulate.draws import MAX_BLOCK_ROWS
from curation.simulate.perturbations import mixseq, replogle_k562, sciplex
from curation.simulate.study import Design, SimulatedStudy
from curation.simulate.truth import KEPT, write_truth

REAL_SHEET = Path(__file__).parents[1] / "catalog" / "diverserna.yaml"
STUDIES: dict[str, Callable[[Design], SimulatedStudy]] = {
    study.__name__: study
    for study in (
        replogle_k562,
        gbmap,
        mixseq,
        sciplex,
        gastric_metaplasia,
        breast_cancer,
        tumor_microenvironment,
        tcga,
        gtex,
    )
}
# A study whose samples another one also holds, and the study that leaves them out; both are listed above in this order
SHARED = ("breast_cancer", "tumor_microenvironment")
# Facts of the real entry that do not hold for simulated files
_NOT_SIMULATED = ("alternatives", "do_not_use", "status", "expected", "files")
PHENOPRINT_P = {True: 0.001, False: 0.5}


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What to simulate.

    Attributes
    ----------
    scale : float
        Samples as a share of Table 1: 1.0 is 1,434,299.
    gene_share : float
        Genes as a share of the published tables.
    seed : int
    studies : tuple of str
        Some of `STUDIES`.
    annotation : str or None
        Annotation entry that the axis was read from, for the config; None leaves the project's own.
    """

    scale: float
    gene_share: float = 1.0
    seed: int = 0
    studies: tuple[str, ...] = tuple(STUDIES)
    annotation: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1 or not 0 < self.gene_share <= 1:
            raise InputError(
                "this rehearsal cannot be simulated",
                where="--scale and --gene-share",
                expected="above 0, up to 1",
                found=f"{self.scale:g} and {self.gene_share:g}",
                todo="correct the numbers",
            )
        for name in self.studies:
            if name not in STUDIES:
                raise InputError(f"there is no simulation of {name!r}", where="--studies", todo=nearest(name, STUDIES))
        if SHARED[1] in self.studies and SHARED[0] not in self.studies:
            raise InputError(
                f"{SHARED[1]} leaves out samples of {SHARED[0]}, which is not simulated",
                where="--studies",
                expected="both, or neither",
                found=", ".join(self.studies),
                todo=f"add {SHARED[0]}",
            )

    def recipes(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Return the recipes of config.yaml with thresholds that fit the scale, and filters that the paper lacks."""
        single_cell = {
            "min_samples_per_gene": max(3, round(1_000 * self.scale)),
            "min_genes_per_sample": round(2_000 * self.gene_share),
            "max_genes_per_sample": round(8_000 * self.gene_share),
            "max_mito_share": 0.25,
            "min_samples_per_batch": 5,
        }
        return {
            "single_cell": single_cell,
            "single_cell_apart": single_cell
            | {
                "drop_samples_of": [SHARED[0]],
                "per_technology": {"inDrop": {"min_genes_per_sample": round(1_200 * self.gene_share)}},
            },
            "bulk": {"min_counts_per_sample": round(1_000_000 * self.gene_share)},
            "full": {"perturbations": "all"},
            "controls": {"perturbations": "controls"},
            "phenoprint": {
                "perturbations": "phenoprint",
                "phenoprints": str(folder / "phenoprints.tsv"),
                "phenoprints_from": None,
                "phenoprint_p_max": 0.1,
            },
        }


def recipes_of(study: str) -> tuple[str, ...]:
    """Return the recipes of config.yaml that a study is curated under."""
    if study == "replogle_k562":
        return ("full", "controls", "phenoprint")
    if study == SHARED[1]:
        return ("single_cell_apart",)
    return ("bulk",) if study in ("tcga", "gtex") else ("single_cell",)


def write_rehearsal(rehearsal: Rehearsal, genes: Path, out: Path) -> None:
    """Write everything into `out`.

    Parameters
    ----------
    rehearsal : Rehearsal
    genes : Path
        genes.parquet of the axis, with the names beside it.
    out : Path
        Gets a folder a study, catalog.yaml, config.yaml, phenoprints.tsv and truth/.

    Raises
    ------
    InputError
        `out` holds something else.
    """
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise InputError("the folder of the rehearsal is a file", where=str(out), todo="name another --out")
    out.mkdir(parents=True, exist_ok=True)
    names = AxisNames(GeneAxis.read(genes))
    design = Design(names=names, scale=rehearsal.scale, gene_share=rehearsal.gene_share, seed=rehearsal.seed)
    sheet = load_yaml(REAL_SHEET)["studies"]
    recipes = rehearsal.recipes(out)
    entries = {}
    for name in (name for name in STUDIES if name in rehearsal.studies):
        study = STUDIES[name](design)
        folder = out / name
        folder.mkdir(exist_ok=True)
        study.write(folder)
        entries[name] = sheet_entry(study, sheet[name], folder)
        kept = frozenset(who for who, has_effect in study.perturbation_has_effect.items() if has_effect)
        if study.perturbation_has_effect:
            _write_phenoprints(out / "phenoprints.tsv", study)
        elsewhere = kept_samples(out / "truth", SHARED[0]) if name == SHARED[1] else frozenset()
        wanted = [
            Recipe(name=recipe, fields=recipes[recipe], phenoprints=kept, kept_elsewhere=elsewhere)
            for recipe in recipes_of(name)
        ]
        write_truth(study, entries[name], wanted, names, out / "truth")
        print(f"{name}: {study.n_samples:,} samples", file=sys.stderr, flush=True)
    _write_yaml(out / "catalog.yaml", {"studies": entries}, "Simulated studies in the formats of the nine real ones.")
    _write_yaml(out / "config.yaml", _config(rehearsal, out, recipes), "Rehearsal; merged over config.yaml.")


def sheet_entry(study: SimulatedStudy, real: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the catalogue entry of a simulated study: the real one with other files, marked as simulated."""
    files = study.entry.get("files") or {name: {} for name in real["files"]}
    entry = {key: value for key, value in real.items() if key not in _NOT_SIMULATED} | dict(study.entry)
    return entry | {
        "title": f"{real['title']} (simulated)",
        "citation": {"doi": None, "year": 2026, "text": "Made by `curation simulate`: no instrument measured it"},
        "licence": "CC0",
        "simulated": True,
        "notes": "Random counts in the format of the real study, for rehearsals.",
        "files": {name: fields or _local_file(folder / name) for name, fields in files.items()},
    }


def kept_samples(truth: Path, study: str) -> frozenset[str]:
    """Return the first samples of a study that its stores hold; only the first are in another study, too."""
    (cells,) = truth.glob(f"{study}.*.cells.tsv.gz")
    with gzip.open(cells, "rt", newline="") as handle:
        rows = islice(csv.DictReader(handle, delimiter="\t"), MAX_BLOCK_ROWS)
        return frozenset(row["sample_id"] for row in rows if row["outcome"] == KEPT)


def _local_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as handle:
        sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"addresses": [f"file:{path}"], "size": path.stat().st_size, "sha256": sha256}


def _write_phenoprints(path: Path, study: SimulatedStudy) -> None:
    n_cells = study.n_samples // len(study.perturbation_has_effect)
    rows = [
        f"{name}\t{n_cells}\t{0.9 if has_effect else 0.0}\t{PHENOPRINT_P[has_effect]}\n"
        for name, has_effect in study.perturbation_has_effect.items()
    ]
    path.write_text("perturbation\tn_cells\tstatistic\tp_value\n" + "".join(rows))


def _config(rehearsal: Rehearsal, out: Path, recipes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config that curates the simulated studies in place of the real ones, and trains nothing."""
    studies = {name: recipes_of(name)[-1] for name in STUDIES if name in rehearsal.studies}
    variants: dict[str, Any] = {"rehearsal": {"studies": studies}}
    if "replogle_k562" in studies:
        variants |= {
            f"rehearsal_{recipe}": {"base": "rehearsal", "with": {"replogle_k562": recipe}}
            for recipe in ("controls", "full")
        }
    catalogs = {"diverserna": str(out / "catalog.yaml")}
    axis = {}
    if rehearsal.annotation:
        axis = {"gene_axis": {"annotation": rehearsal.annotation}}
        catalogs["annotation"] = str(_sheet_of(rehearsal.annotation))
    return {
        "name": "rehearsal",
        "catalogs": catalogs,
        **axis,
        "select": {"models": [], "studies_for_evaluation": [], "variants": list(variants)},
        "recipes": dict(recipes),
        "variants": variants,
    }


def _sheet_of(annotation: str) -> Path:
    """Return the project's sheet that has an annotation entry, as a path from the project's root."""
    entries = {
        name: path
        for path in sorted(REAL_SHEET.parent.glob("*.yaml"))
        if path.name != "schema.yaml"
        for name in load_yaml(path).get("annotation", {})
    }
    if annotation not in entries:
        raise InputError(
            f"no sheet has an annotation entry {annotation!r}", where="--annotation", todo=nearest(annotation, entries)
        )
    return entries[annotation].relative_to(REAL_SHEET.parents[2])


def _write_yaml(path: Path, document: Mapping[str, Any], comment: str) -> None:
    text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=120)
    path.write_text(f"# {comment}\n{text}", encoding="utf-8")
