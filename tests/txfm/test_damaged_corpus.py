"""A corpus of production code with one thing changed: the reader names it, or gives what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from txfm.corpus import as_anndata, open_corpus
from txfm.corpus.store_files import DamagedStoreError
from txfm.errors import InputError

STORE = "stores/gtex.plain.train.zarr"


@pytest.fixture
def corpus(small_corpus: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(small_corpus, tmp_path / "corpus", symlinks=True))


def content(corpus: Path, **options: Any) -> tuple[list[str], int]:
    """Sample ids and the sum of all counts, and everything else that the reader reads."""
    stream = open_corpus(corpus, "all", "train", batch_size=50, **options)
    batches = list(stream)
    assert stream.obs().height == stream.n_samples
    return sorted(sum((batch.sample_ids for batch in batches), [])), sum(int(batch.counts.sum()) for batch in batches)  # noqa: RUF017


def flip(path: Path, position: int = 30) -> None:
    changed = bytearray(path.read_bytes())
    changed[position % len(changed)] ^= 1
    path.write_bytes(changed)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("file", ["X/data/c/0", "X/indices/c/0", "X/indptr/c/0", "X/data/zarr.json"])
@pytest.mark.parametrize("change", [flip, Path.unlink])
def test_damage_to_the_counts_is_named_by_both_ways_of_reading(
    corpus: Path, file: str, change: Callable[[Path], None], plain: bool
) -> None:
    change(corpus / STORE / file)
    with pytest.raises(DamagedStoreError, match=rf"gtex\.plain\.train\.zarr/{file}"):
        content(corpus, plain=plain)


@pytest.mark.parametrize(
    "file", ["zarr.json", "obs/zarr.json", "obs/sample_id/c/0", "obs/library_size/c/0", "var/symbol/c/0"]
)
def test_damage_to_the_tables_is_named(corpus: Path, file: str) -> None:
    path = corpus / ("stores/breast_cancer.plain.train.zarr" if file.startswith("var") else STORE) / file
    flip(path, 400)
    with pytest.raises(InputError, match=r"zarr"):
        content(corpus)


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("file", ["X/data/c/0", "obs/library_size/c/0", "var/measured/c/0", "uns/curation/c"])
def test_as_anndata_does_not_take_what_is_missing_for_zeros(corpus: Path, file: str, lazy: bool) -> None:
    path = corpus / STORE / file
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(DamagedStoreError, match="no such file"):
        as_anndata(corpus / STORE, lazy=lazy)


def test_as_anndata_in_memory_notices_a_changed_byte(corpus: Path) -> None:
    flip(corpus / STORE / "X/data/c/0")
    with pytest.raises(DamagedStoreError, match="another sha256"):
        as_anndata(corpus / STORE, lazy=False)


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "split": lambda m: m["stores"][0].update(split="tsain"),
    "assay": lambda m: m["stores"][0].update(assay="sd"),
    "digest": lambda m: m.update(digest="0" * 64),
    "totals": lambda m: m["totals"]["train"].update(n_samples=7),
    "a store left out": lambda m: m["stores"].pop(0),
    "measured": lambda m: m["measured"].update(gtey=m["measured"].pop("gtex")),
    "a mask": lambda m: m["measured"].update(gtex=m["measured"]["mine"]),
    "samples of a store": lambda m: m["stores"][0].update(n_samples=m["stores"][0]["n_samples"] + 1),
    "axis": lambda m: m["gene_axis"].update(sha256="0" * 64),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_that_contradicts_itself_or_its_stores_is_refused(corpus: Path, name: str) -> None:
    path = corpus / "variants" / "all.json"
    manifest = json.loads(path.read_text())
    CHANGES[name](manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"(?s)(damaged|not the one in the variant's manifest)"):
        content(corpus)


def test_random_changes_of_single_bytes_never_change_what_is_read(corpus: Path, small_corpus: Path) -> None:
    whole = content(small_corpus)
    files = sorted(path for path in corpus.rglob("*") if path.is_file() and "variants/all.zarr" not in str(path))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        path = files[int(rng.integers(len(files)))]
        before = path.read_bytes()
        flip(path, int(rng.integers(len(before))))
        try:
            assert content(corpus) == whole, path
        except InputError:
            refused += 1
        path.write_bytes(before)
    assert refused > 5


@pytest.mark.parametrize("version", ["1.7", "2.0"])
def test_an_unknown_minor_version_is_read_and_an_unknown_major_is_not(
    corpus: Path, small_corpus: Path, version: str
) -> None:
    for path in (corpus / "corpus.json", corpus / "variants" / "all.json"):
        manifest = json.loads(path.read_text())
        path.write_text(json.dumps(manifest | {"format_version": version, "of_tomorrow": [1]}))
    if version == "1.7":
        assert content(corpus) == content(small_corpus)
    else:
        with pytest.raises(InputError, match=r"version 2\.0"):
            content(corpus)
