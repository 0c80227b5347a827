"""`python -m curation diff`: what differs between two corpora, named by part, gene, reason and sample."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from curation_command import run
from small_corpus import build_corpus

from curation.digest import combined_digest
from curation.file_sums import file_sum, sums_below
from curation.sample_ids import id_hashes, ids_not_among


def diff(a: object, b: object) -> dict[str, Any]:
    code, out, _ = run("diff", a, b, "--json")
    assert code == 0
    return json.loads(out)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of another seed: the same samples with other counts and other measured genes."""
    return build_corpus(tmp_path_factory.mktemp("other"), seed=1)


def edited(corpus: Path, target: Path, store: str, change: Callable[[zarr.Group], dict[str, str]]) -> Path:
    """Copy a corpus with one store changed, and its digests as if it had been written so."""
    shutil.copytree(corpus, target, symlinks=True)
    root = zarr.open_group(target / "stores" / store, mode="r+")
    digests = dict(root.attrs["digests"]) | change(root)
    files = sums_below(target / "stores" / store, {})
    root.attrs.update({"digests": digests, "digest": combined_digest(digests), "files": files})
    for path in (target / "corpus.json", *(target / "variants").glob("*.json")):
        manifest = json.loads(path.read_text())
        for entry in manifest["stores"]:
            if entry["path"] == f"stores/{store}":
                entry["digest"] = combined_digest(digests)
                if path.name == "corpus.json":
                    entry["zarr_json_sha256"] = file_sum(target / "stores" / store / "zarr.json")["sha256"]
                manifest["digest"] = "0" * 64
        path.write_text(json.dumps(manifest))
    return target


def test_a_corpus_equals_itself_and_its_copy(small_corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(small_corpus, tmp_path / "copy", symlinks=True)
    found = diff(small_corpus, tmp_path / "copy")
    assert found["equal"]
    assert found["studies"] == {}
    assert found["equal_studies"] == ["breast_cancer", "gtex", "mine.plain", "mine.strict", "single"]
    code, out, _ = run("diff", small_corpus, tmp_path / "copy", "--exit-code")
    assert code == 0
    assert "equal in content" in out


def test_another_build_differs_in_counts_genes_and_totals_but_not_in_samples(small_corpus: Path, other: Path) -> None:
    found = diff(small_corpus, other)
    assert not found["equal"]
    assert found["gene_axis"] is None
    gtex = found["studies"]["gtex"]
    assert {"X/data", "X/indices", "obs", "var"} <= set(gtex["parts"]["train"])
    assert "samples_only_in_a" not in gtex
    measured = [
        set(np.flatnonzero(zarr.open_array(corpus / "stores" / "gtex.plain.train.zarr" / "var" / "measured")[:]))
        for corpus in (small_corpus, other)
    ]
    assert gtex["genes_only_in_a"]["n"] == len(measured[0] - measured[1])
    assert gtex["genes_only_in_b"]["n"] == len(measured[1] - measured[0])
    assert "n_genes_measured" not in gtex
    assert set(gtex["sources"]) == {"gtex.csv"}
    assert found["variants"] == {"only_in_a": [], "only_in_b": [], "differ": ["all", "minus_bulk", "strict"]}


def test_the_exit_code_says_different_only_where_it_is_asked_to(small_corpus: Path, other: Path) -> None:
    code, out, _ = run("diff", small_corpus, other)
    assert code == 0
    assert "different in content" in out
    assert "train differs in X/data" in out
    assert run("diff", small_corpus, other, "--exit-code")[0] == 1


def test_a_renamed_sample_is_named_on_both_sides(small_corpus: Path, tmp_path: Path) -> None:
    def rename(root: zarr.Group) -> dict[str, str]:
        ids = root["obs/sample_id"]
        ids[0] = "gtex:new"
        return {"obs": "1" * 64}

    changed = edited(small_corpus, tmp_path / "corpus", "gtex.plain.train.zarr", rename)
    gtex = diff(small_corpus, changed)["studies"]["gtex"]
    assert gtex["samples_only_in_b"] == {"n": 1, "first": ["gtex:new"]}
    assert gtex["samples_only_in_a"]["n"] == 1
    assert gtex["parts"] == {"train": ["obs"]}


def test_samples_that_moved_to_the_other_split_are_counted(small_corpus: Path, tmp_path: Path) -> None:
    def swap(root: zarr.Group) -> dict[str, str]:
        validation = zarr.open_array(small_corpus / "stores/gtex.plain.validation.zarr/obs/sample_id", mode="r")
        root["obs/sample_id"][:3] = validation[:3]
        return {"obs": "1" * 64}

    changed = edited(small_corpus, tmp_path / "corpus", "gtex.plain.train.zarr", swap)
    gtex = diff(small_corpus, changed)["studies"]["gtex"]
    assert gtex["samples_moved"] == {"validation to train": 3}
    assert gtex["samples_only_in_a"]["n"] == 3


def test_two_variants_of_one_corpus_differ_in_members_and_reasons(small_corpus: Path) -> None:
    found = diff(f"{small_corpus}:all", f"{small_corpus}:minus_bulk")
    assert found["studies_only_in_a"] == ["gtex", "single"]
    assert found["studies"] == {}
    assert found["variants"] is None
    mine = diff(f"{small_corpus}:all", f"{small_corpus}:strict")["studies"]["mine"]
    assert mine["recipe"] == ["plain", "strict"]
    assert mine["dropped_genes"]
    assert mine["recipe_fields"]["min_genes_per_sample"] == [0, 40]
    assert mine["n_genes_measured"][1] < mine["n_genes_measured"][0]
    text = run("diff", f"{small_corpus}:all", f"{small_corpus}:strict")[1]
    assert "recipe: plain -> strict" in text
    assert "dropped genes, " in text


def test_tools_and_format_that_differ_are_named(small_corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "corpus"
    shutil.copytree(small_corpus, copy, symlinks=True)
    manifest = json.loads((copy / "corpus.json").read_text())
    manifest["tools"] = manifest["tools"] | {"zarr": "9.9", "new": "1"}
    manifest["format_version"] = "1.7"
    (copy / "corpus.json").write_text(json.dumps(manifest))
    text = run("diff", small_corpus, copy)[1]
    assert "equal in content" in text
    assert "-> 9.9" in text
    assert "tool new: none -> 1" in text
    assert "-> 1.7" in text


def test_a_missing_variant_or_corpus_is_told(small_corpus: Path) -> None:
    code, _, err = run("diff", f"{small_corpus}:al", small_corpus)
    assert code == 2
    assert "there is no variant 'al'" in err
    code, _, err = run("diff", small_corpus, small_corpus / "nowhere")
    assert code == 2
    assert "there is no corpus here" in err


def test_ids_are_compared_chunk_by_chunk(small_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = [small_corpus / "stores" / f"mine.plain.{split}.zarr" for split in ("train", "validation")]
    whole = id_hashes(stores)
    monkeypatch.setattr("curation.sample_ids.READ_ROWS", 7)
    assert np.array_equal(id_hashes(stores), whole)
    assert ids_not_among(stores, whole, 3) == (0, [])
    count, first = ids_not_among(stores, id_hashes(stores[1:]), 3)
    assert count == zarr.open_array(stores[0] / "obs" / "sample_id").shape[0]
    assert first == [str(name) for name in zarr.open_array(stores[0] / "obs" / "sample_id")[:3].tolist()]


@pytest.mark.parametrize("file", ["var/measured/c/0", "obs/sample_id/c/0", "uns/curation/zarr.json", "zarr.json"])
def test_a_damaged_file_that_is_read_is_named(small_corpus: Path, tmp_path: Path, file: str) -> None:
    def change(root: zarr.Group) -> dict[str, str]:
        return {"obs": "0" * 64, "var": "0" * 64}

    corpus = edited(small_corpus, tmp_path / "edited", "gtex.plain.train.zarr", change)
    path = corpus / "stores" / "gtex.plain.train.zarr" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, _, err = run("diff", small_corpus, corpus)
    assert code == 2
    assert "stores/gtex.plain.train.zarr" in err
    assert file in err
