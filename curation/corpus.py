"""From stores to a corpus: corpus.json, and variants that name stores without copying them."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from curation.axis import GeneAxis
from curation.errors import InputError
from curation.file_sums import ROOT_METADATA, file_sum
from curation.json_file import write_json
from curation.overlap import refuse_shared_samples
from curation.variant_manifest import (
    STORE_FIELDS,
    manifest_digest,
    measured_mask,
    pack_mask,
    totals_of,
    train_members,
    vocabulary_of,
)

FORMAT_VERSION = "1.0"
# Tables beside the stores
TABLES = ("genes.parquet", "gene_names.parquet")
TOOLS = ("anndata", "numpy", "polars", "scipy", "zarr")


def store_name(study: str, recipe: str, split: str) -> str:
    """Return a store's path below the corpus."""
    return f"stores/{study}.{recipe}.{split}.zarr"


def read_store_record(corpus: Path, path: str) -> dict[str, Any]:
    """Return a store's entry for a manifest, from its attributes.

    Raises
    ------
    InputError
        The store is not there, or is not a store of a corpus.
    """
    try:
        attributes = zarr.open_group(corpus / path, mode="r").attrs.asdict()
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise InputError(
            "a store is not there or cannot be read",
            where=str(corpus / path),
            expected="a store that the curate step wrote",
            found=str(error),
            todo="remove the folder, if there is one, and run the workflow again",
        ) from error
    missing = [field for field in STORE_FIELDS if field not in attributes]
    if missing:
        raise InputError(
            f"the store lacks {', '.join(missing)}",
            where=str(corpus / path),
            expected="the attributes of a DiverseRNA store",
            found=", ".join(sorted(attributes)) or "none",
            todo="remove the folder and run the workflow again",
        )
    return {"path": path} | {field: attributes[field] for field in STORE_FIELDS}


def assemble(
    corpus: Path,
    *,
    name: str,
    axis_source: str,
    reports: Sequence[Path],
    studies: Mapping[str, Mapping[str, Any]],
    out: Path,
) -> None:
    """Write corpus.json over the stores that the QC reports name.

    Parameters
    ----------
    corpus : Path
        Folder with genes.parquet and stores/.
    name : str
        The config's name.
    axis_source : str
        Annotation entry that the axis was read from.
    reports : sequence of Path
        QC reports of the curate step; each names two stores.
    studies : mapping
        Study to title, citation and licence, for readers of the corpus.
    out : Path
        Where corpus.json goes.
    """
    axis = GeneAxis.read(corpus / "genes.parquet")
    stores, sources = [], {}
    for report in _read_reports(reports):
        sources[report["study"]] = report["sources"]
        for split in ("train", "validation"):
            record = read_store_record(corpus, store_name(report["study"], report["recipe"], split))
            stores.append(record | {"zarr_json_sha256": file_sum(corpus / record["path"] / ROOT_METADATA)["sha256"]})
    stores.sort(key=lambda store: str(store["path"]))
    gene_axis = {"sha256": axis.sha256, "n_genes": len(axis.ensembl_ids), "source": axis_source}
    write_json(
        out,
        {
            "format": "diverserna-corpus",
            "format_version": FORMAT_VERSION,
            "name": name,
            "digest": manifest_digest(axis.sha256, stores),
            "gene_axis": gene_axis,
            "files": {table: file_sum(corpus / table) for table in TABLES},
            "stores": stores,
            "studies": {study: dict(studies.get(study, {})) for study in sorted(sources)},
            "sources": dict(sorted(sources.items())),
            "tools": {"python": platform.python_version()} | {tool: version(tool) for tool in TOOLS},
        },
    )


def compose(
    corpus: Path,
    *,
    variant: str,
    members: Mapping[str, str],
    held_out: Iterable[str],
    reports: Sequence[Path],
    evaluation_stores: Mapping[str, Path] | None = None,
) -> None:
    """Write a variant: variants/<variant>.json, and variants/<variant>.zarr with links for annbatch.

    Parameters
    ----------
    members : mapping of str to str
        Study to recipe.
    held_out : iterable of str
        Studies that no variant may hold.
    reports : sequence of Path
        QC reports of the members.
    evaluation_stores : mapping of str to Path, optional
        Held-out study to its store, where it has one.

    Raises
    ------
    InputError
        A member is held out, a batch is in both splits of a study, or a sample is in two studies.
    """
    held_out = sorted(held_out)
    refused = sorted(set(members) & set(held_out))
    if refused:
        raise InputError(
            f"{refused[0]} is held out for evaluation",
            where=f"variant {variant}",
            expected=f"training studies, none of {', '.join(held_out)}",
            found=", ".join(members),
            todo=f"take {refused[0]} out of the variant",
        )
    axis = GeneAxis.read(corpus / "genes.parquet")
    by_member = {(report["study"], report["recipe"]): report for report in _read_reports(reports)}
    stores: list[dict[str, Any]] = []
    dropped: dict[str, Any] = {}
    measured: dict[str, np.ndarray] = {}
    for study, recipe in sorted(members.items()):
        report = by_member[study, recipe]
        shared = set(report["batches"]["train"]) & set(report["batches"]["validation"])
        if shared:
            raise InputError(
                f"batch {sorted(shared)[0]!r} is in training and in validation",
                where=f"study {study}, recipe {recipe}",
                expected="each batch in one split",
                found=", ".join(sorted(shared)),
                todo="remove the stores of this study and run the workflow again",
            )
        dropped[study] = {"samples": report["samples"]["dropped"], "genes": report["genes"]["dropped"]}
        for split in ("train", "validation"):
            stores.append(read_store_record(corpus, store_name(study, recipe, split)))
        measured[study] = measured_mask(corpus / store_name(study, recipe, "train"))
    of_study = {study: [corpus / s["path"] for s in stores if s["study"] == study] for study in sorted(members)}
    refuse_shared_samples(variant, of_study, {name: [path] for name, path in (evaluation_stores or {}).items()})
    write_links(corpus, variant, stores)
    write_json(
        corpus / "variants" / f"{variant}.json",
        {
            "format": "diverserna-variant",
            "format_version": FORMAT_VERSION,
            "name": variant,
            "digest": manifest_digest(axis.sha256, stores),
            "studies": dict(sorted(members.items())),
            "stores": stores,
            "gene_axis": {"sha256": axis.sha256, "n_genes": len(axis.ensembl_ids)},
            "vocabulary": vocabulary_of(measured.values()),
            "measured": {study: pack_mask(mask) for study, mask in measured.items()},
            "dropped": dropped,
            "held_out": held_out,
            "totals": {split: totals_of(stores, split) for split in ("train", "validation")},
        },
    )


def write_links(corpus: Path, variant: str, stores: Sequence[Mapping[str, Any]]) -> None:
    """Write variants/<variant>.zarr: links to the train stores, laid out as a collection of annbatch.

    annbatch 0.3 reads the members dataset_0 ... dataset_{n-1} of a group that carries its two attributes. Where the
    file system has no links, the folder holds the attributes alone and the JSON manifest is the way in.
    """
    target = corpus / "variants" / f"{variant}.zarr"
    partial = target.with_name(f".{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    group = zarr.open_group(partial, mode="w", zarr_format=3)
    group.attrs.update({"encoding-type": "annbatch-preshuffled", "encoding-version": "0.1.0"})
    for i, store in enumerate(train_members(stores)):
        try:
            (partial / f"dataset_{i}").symlink_to(Path("..", "..", store["path"]), target_is_directory=True)
        except OSError:
            break
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _read_reports(reports: Sequence[Path]) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(reports)]
