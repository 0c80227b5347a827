"""`python -m curation info`: the composition of a corpus, from its JSON alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from curation_command import run

from curation.composition import table_1
from curation.manifests import read_manifest


def info(*arguments: object) -> dict[str, Any]:
    code, out, _ = run("info", *arguments, "--json")
    assert code == 0
    return json.loads(out)


@pytest.fixture(scope="module")
def whole(small_corpus: Path) -> dict[str, Any]:
    return info(small_corpus)


def test_the_nine_studies_of_table_1_are_those_of_the_sheet() -> None:
    assert len(table_1()) == 9
    assert sum(row["n_samples"] for row in table_1().values()) == 1_434_299


def test_samples_non_zeros_and_bytes_are_those_of_the_stores(small_corpus: Path, whole: dict[str, Any]) -> None:
    rows = {(row["study"], row["recipe"]): row for row in whole["studies"]}
    assert set(rows) == {
        ("breast_cancer", "plain"),
        ("gtex", "plain"),
        ("mine", "plain"),
        ("mine", "strict"),
        ("single", "plain"),
    }
    for (study, recipe), row in rows.items():
        entries = [e for e in read_manifest(small_corpus)["stores"] if (e["study"], e["recipe"]) == (study, recipe)]
        for field in ("n_samples", "nnz"):
            assert row[field] == sum(entry[field] for entry in entries)
        on_disk = sum(
            path.stat().st_size
            for entry in entries
            for path in (small_corpus / entry["path"]).rglob("*")
            if path.is_file()
        )
        assert row["bytes"] == on_disk
        assert row["bytes_per_nonzero"] == pytest.approx(on_disk / row["nnz"])
    assert rows["gtex", "plain"]["n_samples_train"] + rows["gtex", "plain"]["n_samples_validation"] == 40
    assert whole["totals"]["n_samples_bulk"] == 40
    assert sum(row["share"] for row in whole["studies"]) == pytest.approx(1)


def test_studies_of_table_1_are_compared_with_it_and_others_are_not(whole: dict[str, Any]) -> None:
    rows = {row["study"]: row for row in whole["studies"]}
    assert rows["gtex"]["table_1"] == {"n_samples": 10_526, "n_genes": 36_695}
    assert rows["gtex"]["difference"] == {"n_samples": 40 - 10_526, "n_genes": 300 - 36_695}
    assert rows["mine"]["table_1"] is None
    assert whole["table_1"]["other_studies"] == ["mine", "single"]
    assert len(whole["table_1"]["missing_studies"]) == 7


def test_a_variant_has_its_own_totals_vocabulary_and_held_out_studies(
    small_corpus: Path, whole: dict[str, Any]
) -> None:
    variant = info(small_corpus, "--variant", "minus_bulk")
    described = json.loads((small_corpus / "variants" / "minus_bulk.json").read_text())
    assert variant["totals"]["n_samples_train"] == described["totals"]["train"]["n_samples"]
    assert variant["totals"]["n_samples_bulk"] == 0
    assert variant["vocabulary"] == described["vocabulary"]
    assert variant["held_out"] == ["elsewhere"]
    assert variant["digest"] != whole["digest"]
    assert [row["name"] for row in whole["variants"]] == ["all", "minus_bulk", "strict"]


def test_the_text_has_a_row_a_study_the_total_and_the_comparison(small_corpus: Path) -> None:
    code, out, err = run("info", small_corpus)
    assert (code, err) == (0, "")
    assert "codec blosc zstd 2, crc32c" in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert any(line.startswith("gtex plain bulk reads 30 10 ") for line in lines)
    assert any(line.startswith("gtex 10,526 40 -10,486 36,695 300 -36,395") for line in lines)
    assert any(line.startswith("total ") for line in lines)
    assert any(line.startswith("note: a study under several recipes") for line in lines)


def test_no_count_is_read(small_corpus: Path, tmp_path: Path, whole: dict[str, Any]) -> None:
    copy = tmp_path / "corpus"
    shutil.copytree(small_corpus, copy, symlinks=True)
    for shard in copy.rglob("c/*"):
        if shard.is_file():
            shard.unlink()
    assert info(copy)["totals"] == whole["totals"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("..", "did you mean"),
        ("stores", "did you mean"),
        ("../corpsu", "do: did you mean "),
        ("genes.parquet", "found: a file"),
        ("s3://bucket/corpus", "reads a corpus from a folder"),
    ],
)
def test_a_folder_that_is_no_corpus_is_told_with_the_nearest_that_is(
    small_corpus: Path, given: str, words: str
) -> None:
    code, out, err = run("info", given if "://" in given else os.path.normpath(small_corpus / given))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert words in err


def test_a_misspelt_variant_is_told_with_the_nearest(small_corpus: Path) -> None:
    code, _, err = run("info", small_corpus, "--variant", "minus_bulc")
    assert code == 2
    assert "do: did you mean 'minus_bulk'?" in err


def test_a_damaged_manifest_and_a_stale_store_are_named(small_corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "corpus"
    shutil.copytree(small_corpus, copy, symlinks=True)
    metadata = copy / "stores" / "gtex.plain.train.zarr" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"digest": "', '"digest": "0'))
    code, _, err = run("info", copy)
    assert code == 2
    assert f"where: {metadata}" in err
    (copy / "corpus.json").write_text("{")
    code, _, err = run("info", copy)
    assert code == 2
    assert "this file is damaged" in err


@pytest.mark.parametrize("field", ["digest", "name", "stores", "gene_axis"])
def test_a_manifest_without_a_field_is_named(
    small_corpus: Path, tmp_path: Path, edit_json: Callable[..., None], field: str
) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus", symlinks=True))
    edit_json(corpus / "corpus.json", lambda manifest: manifest.pop(field))
    code, _, err = run("info", corpus)
    assert code == 2
    assert f"where: {corpus / 'corpus.json'}" in err
    assert f"found: lacks {field}" in err


def test_metadata_that_does_not_name_a_codec_is_named(small_corpus: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus", symlinks=True))
    metadata = corpus / "stores" / "gtex.plain.train.zarr" / "X" / "data" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"cname"', '"cnbme"'))
    code, _, err = run("info", corpus)
    assert code == 2
    assert "store stores/gtex.plain.train.zarr, file X/data/zarr.json" in err
