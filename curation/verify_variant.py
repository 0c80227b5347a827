"""Variants against the corpus that they choose from: members, digests, masks, vocabulary, totals, links."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from curation.variant_manifest import manifest_digest, totals_of, train_members, unpack_mask, vocabulary_of

SPLITS = ("train", "validation")


def variant_problems(
    corpus: Path, path: Path, manifest: Mapping[str, Any], measured: Mapping[str, np.ndarray | None]
) -> Iterator[str]:
    """Yield what is wrong with a variant.

    Parameters
    ----------
    corpus : Path
    path : Path
        variants/<variant>.json.
    manifest : mapping
        corpus.json.
    measured : mapping of str to ndarray of bool or None
        Path of a store -> what its study measured, None if it cannot be read.
    """
    try:
        variant: dict[str, Any] = json.loads(path.read_bytes())
        found = (variant.get("format"), str(variant.get("format_version")).split(".")[0], variant.get("name"))
        expected = ("diverserna-variant", str(manifest["format_version"]).split(".")[0], path.stem)
        if found != expected:
            yield f"is {found}, not {expected}"
            return
        yield from _member_problems(variant, manifest)
        yield from _mask_problems(variant, manifest, measured)
        yield from _link_problems(corpus, path.with_suffix(".zarr"), variant)
    except Exception as error:  # whatever a damaged file leads to is a finding
        yield f"cannot be read: {type(error).__name__}: {error}"


def _member_problems(variant: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    stores = {store["path"]: store for store in manifest["stores"]}
    for store in variant["stores"]:
        path = store["path"]
        if store["study"] in variant["held_out"]:
            yield f"{store['study']} is held out and still a member"
        if path not in stores:
            yield f"{path} is not in corpus.json"
            continue
        for name, value in store.items():
            if name in stores[path] and stores[path][name] != value:
                yield f"{path} has another {name} than in corpus.json"
        if variant["studies"].get(store["study"]) != store["recipe"]:
            yield f"{path} is not of a study and recipe that the variant chose"
    members = sorted((store["study"], store["split"]) for store in variant["stores"])
    if members != sorted((study, split) for study in variant["studies"] for split in SPLITS):
        yield "its stores are not one of each split of each of its studies"
    for study in sorted({str(store["study"]) for store in manifest["stores"]} & set(variant["held_out"])):
        yield f"{study} is held out and has a store in this corpus"
    if manifest_digest(manifest["gene_axis"]["sha256"], variant["stores"]) != variant["digest"]:
        yield "its digest does not fit its list of stores"
    totals = {split: totals_of(variant["stores"], split) for split in SPLITS}
    if totals != variant["totals"]:
        yield f"its totals are {variant['totals']}, its stores have {totals}"


def _mask_problems(
    variant: Mapping[str, Any], manifest: Mapping[str, Any], measured: Mapping[str, np.ndarray | None]
) -> Iterator[str]:
    axis = {name: manifest["gene_axis"][name] for name in ("sha256", "n_genes")}
    if {name: variant["gene_axis"].get(name) for name in axis} != axis:
        yield "its gene axis is not that of corpus.json"
        return
    if sorted(variant["measured"]) != sorted(variant["studies"]):
        yield "its masks are not of its studies"
        return
    masks = {study: unpack_mask(text, axis["n_genes"]) for study, text in variant["measured"].items()}
    for store in variant["stores"]:
        truth = measured.get(store["path"])
        if truth is not None and not np.array_equal(truth, masks[store["study"]]):
            yield f"its mask of {store['study']} is not var/measured of {store['path']}"
    if masks and vocabulary_of(masks.values()) != variant["vocabulary"]:
        yield "its vocabulary is not what at least one of its studies measured"


def _link_problems(corpus: Path, group: Path, variant: Mapping[str, Any]) -> Iterator[str]:
    """Check the links where there are any; a file system may have none."""
    members = sorted(path.name for path in group.glob("dataset_*")) if group.is_dir() else []
    if not members:
        return
    attributes = json.loads((group / "zarr.json").read_bytes())["attributes"]
    if attributes.get("encoding-type") != "annbatch-preshuffled" or attributes.get("encoding-version") != "0.1.0":
        yield f"{group.name} lacks the attributes that annbatch looks for"
    expected = {f"dataset_{i}": store["path"] for i, store in enumerate(train_members(variant["stores"]))}
    for name in sorted(expected.keys() | set(members)):
        link = group / name
        if name not in expected:
            yield f"{group.name}/{name} is a member too many"
        elif not link.is_symlink():
            yield f"{group.name}/{name} is missing, or no link"
        elif os.path.realpath(link) != os.path.realpath(corpus / expected[name]):
            yield f"{group.name}/{name} leads to {link.readlink()}, not to {expected[name]}"
        elif not link.exists():
            yield f"{group.name}/{name} leads to a store that is missing"
