"""`curation verify` over a corpus whose files, manifests and links were changed behind its back."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from curation import obs_writer, shards
from curation.__main__ import main
from curation.axis import GeneAxis
from curation.build import Curation, curate_training
from curation.catalog import Study
from curation.corpus import assemble, compose
from curation.errors import InputError
from curation.recipe import Recipe
from curation.verify import verify_corpus
from curation.verify_files import file_problems
from curation.verify_store import check_content, check_store

N_CORRUPTIONS = 1_000
TRAIN = "stores/one.r.train.zarr"


# The corpus that each test gets a copy of, once it is built
BUILT: list[Path] = []


@pytest.fixture
def corpus(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    axis: GeneAxis,
    make_study: Callable[..., Study],
    write_mtx: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Return a copy of a corpus of two studies of 300 cells in chunks of 64 elements, three a shard; one variant."""
    if not BUILT:
        BUILT.append(build(tmp_path_factory.mktemp("built"), axis, make_study, write_mtx, monkeypatch))
    return Path(shutil.copytree(BUILT[0], tmp_path / "corpus", symlinks=True))


def build(
    tmp_path: Path,
    axis: GeneAxis,
    make_study: Callable[..., Study],
    write_mtx: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    monkeypatch.setattr(shards, "CHUNK_ELEMENTS", 64)
    monkeypatch.setattr(shards, "CHUNKS_PER_SHARD", 3)
    monkeypatch.setattr(obs_writer, "ROWS_PER_CHUNK", 128)
    folder = tmp_path / "corpus"
    axis.write(folder / "genes.parquet")
    reports = []
    for name, genes in (("one", ["TP53", "ACTB", "QARS1"]), ("two", ["ACTB", "MARCHF1"])):
        counts = np.random.default_rng(1).poisson(3, (300, len(genes)))
        counts[:, 0] += 1
        files = dict(write_mtx(tmp_path / name, counts, genes, [f"b{i % 4}_{i}" for i in range(300)]))
        study = make_study(
            name=name, parts=[{"name": "p", "format": "mtx", "files": files}], obs={"batch": {"pattern": "^(b.)_"}}
        )
        task = Curation(
            study=study,
            recipe=Recipe(),
            recipe_name="r",
            genes=folder / "genes.parquet",
            sources=tmp_path / name,
            seed=0,
        )
        stores = {split: folder / "stores" / f"{name}.r.{split}.zarr" for split in ("train", "validation")}
        reports.append(tmp_path / f"{name}.json")
        curate_training(task, **stores, report=reports[-1], validation_share=0.25)
    assemble(folder, name="toy", axis_source="toy", reports=reports, studies={}, out=folder / "corpus.json")
    compose(folder, variant="both", members={"one": "r", "two": "r"}, held_out=["held"], reports=reports)
    return folder


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def entry_of(corpus: Path, path: str = TRAIN) -> dict[str, Any]:
    manifest = json.loads((corpus / "corpus.json").read_text())
    return next(store for store in manifest["stores"] if store["path"] == path)


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_sound_corpus_has_no_problem(corpus: Path) -> None:
    assert verify_corpus(corpus) == []
    assert len(list((corpus / TRAIN / "X" / "data" / "c").iterdir())) > 2


def places_of(files: list[Path], n: int, seed: int) -> Iterator[tuple[Path, int, int]]:
    """Yield files, places in them and bits to flip there, each byte of all files as likely as any other."""
    draw = random.Random(seed)
    sizes = np.array([file.stat().st_size for file in files])
    ends = np.cumsum(sizes)
    for _ in range(n):
        place = draw.randrange(int(ends[-1]))
        which = int(np.searchsorted(ends, place, side="right"))
        yield files[which], place - int(ends[which] - sizes[which]), draw.randrange(1, 256)


def flip(file: Path, place: int, bits: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= bits
    file.write_bytes(content)


def test_every_one_of_a_thousand_flipped_bytes_is_found_by_the_sums_and_its_file_is_named(
    corpus: Path, pool: Executor
) -> None:
    store, sha256 = corpus / TRAIN, entry_of(corpus)["zarr_json_sha256"]
    files = sorted(path for path in store.rglob("*") if path.is_file())
    assert list(file_problems(store, sha256, pool)) == []
    for file, place, bits in places_of(files, N_CORRUPTIONS, seed=0):
        flip(file, place, bits)
        name = file.relative_to(store).as_posix()
        problems = list(file_problems(store, sha256, pool))
        assert any(problem.startswith(f"{name}: ") for problem in problems), (name, place, problems)
        flip(file, place, bits)
    assert list(file_problems(store, sha256, pool)) == []


def test_a_flipped_byte_in_a_chunk_is_found_without_the_sums_here_and_by_zarr(corpus: Path, pool: Executor) -> None:
    store, entry, ids = corpus / TRAIN, entry_of(corpus), GeneAxis.read(corpus / "genes.parquet").ensembl_ids
    shard_files = sorted(path for path in (store / "X").rglob("c/*") if path.is_file())
    assert check_content(store, entry, ids, pool).problems == []
    before = {name: zarr.open_array(store / "X" / name)[:] for name in ("data", "indices", "indptr")}
    for file, place, bits in places_of(shard_files, 50, seed=1):
        flip(file, place, bits)
        name = file.relative_to(store).as_posix()
        problems = check_content(store, entry, ids, pool).problems
        assert any(problem.startswith(f"{name}: ") for problem in problems), (name, place, problems)
        array = file.parent.parent.name
        with pytest.raises(ValueError, match=r"(?i)checksum"):
            zarr.open_array(store / "X" / array)[:]
        flip(file, place, bits)
    for name, values in before.items():
        np.testing.assert_array_equal(zarr.open_array(store / "X" / name)[:], values)


N_METADATA = 150


def test_no_flipped_byte_of_metadata_ends_the_check_of_a_store(corpus: Path, pool: Executor) -> None:
    store, entry, axis = corpus / TRAIN, entry_of(corpus), GeneAxis.read(corpus / "genes.parquet")
    arguments = (store, entry, axis.ensembl_ids, pool)
    assert check_store(*arguments, symbols=axis.genes["symbol"].to_list()).problems == []
    draw, files = random.Random(2), sorted(store.rglob("zarr.json"))
    assert len(files) > 30
    for turn in range(N_METADATA):
        file = files[turn % len(files)]
        place, bits = draw.randrange(file.stat().st_size), draw.randrange(1, 256)
        flip(file, place, bits)
        problems = check_store(*arguments).problems
        name = file.relative_to(store).as_posix()
        assert any(problem.startswith(f"{name}: ") for problem in problems), (name, place, problems)
        flip(file, place, bits)


@pytest.mark.parametrize("file", ["zarr.json", "X/zarr.json", "X/data/zarr.json", "obs/zarr.json", "var/zarr.json"])
def test_metadata_that_is_no_json_is_listed_and_the_rest_is_checked(
    corpus: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    (corpus / TRAIN / file).write_text("{")
    (corpus / "gene_names.parquet").write_bytes(b"PAR1")
    shutil.rmtree(corpus / "stores" / "two.r.train.zarr")
    assert main(["verify", str(corpus)]) == 2
    err = capsys.readouterr().err
    assert f"{TRAIN}: {file}: " in err
    assert "stores/two.r.train.zarr: the store is missing" in err
    assert "gene_names.parquet: its bytes" in err


@pytest.mark.parametrize("array", [[], [-1], ["3"], [1_000], "x", None])
def test_a_shape_that_cannot_be_is_listed(corpus: Path, pool: Executor, array: Any) -> None:
    for name in ("X/data", "X/indptr", "obs/library_size", "var/measured"):
        path = corpus / TRAIN / name / "zarr.json"
        before = path.read_text()
        edit_json(path, lambda metadata: metadata.update(shape=array))
        problems = check_store(corpus / TRAIN, entry_of(corpus), None, pool).problems
        assert any(problem.startswith(f"{name}/zarr.json: ") for problem in problems), problems
        assert len(problems) > 1
        path.write_text(before)


def test_a_symbol_that_is_not_that_of_the_axis_is_found(corpus: Path, restate: Callable[..., None]) -> None:
    symbols = zarr.open_array(corpus / TRAIN / "var" / "symbol", mode="r+")
    symbols[0] = "TP35"
    restate(corpus, TRAIN)
    problems = verify_corpus(corpus)
    words = "var/symbol: does not agree with genes.parquet at 1 genes; ENSG00000000001 has 'TP35', genes.parquet has"
    assert any(problem.startswith(f"{TRAIN}: {words} 'TP53'") for problem in problems), problems


def test_damages_of_several_kinds_are_all_listed_and_each_names_its_shard(corpus: Path) -> None:
    store = corpus / TRAIN / "X"
    cut = store / "data" / "c" / "1"
    cut.write_bytes(cut.read_bytes()[:-30])
    (store / "indices" / "c" / "2").unlink()
    flip(store / "indices" / "c" / "0", 20, 1)
    (corpus / TRAIN / "notes.txt").write_text("mine")
    problems = verify_corpus(corpus)
    for words in (
        f"{TRAIN}: X/data/c/1: the file has",
        f"{TRAIN}: X/data/c/1: the index at its end is damaged, or the file is cut",
        f"{TRAIN}: X/indices/c/2: the file is missing",
        f"{TRAIN}: X/indices/c/2: cannot be read: No such file",
        f"{TRAIN}: X/indices/c/0: the content of the file does not have the sha256",
        f"{TRAIN}: X/indices/c/0: chunk 0 does not have the CRC-32C",
        f"{TRAIN}: notes.txt: the file is not in the store's list of files",
    ):
        assert any(problem.startswith(words) for problem in problems), (words, problems)
    assert all(problem.startswith(f"{TRAIN}: ") for problem in problems), problems


def test_a_store_that_is_damaged_does_not_hide_what_is_wrong_with_another(corpus: Path) -> None:
    (corpus / TRAIN / "zarr.json").write_text("{")
    shutil.rmtree(corpus / "stores" / "two.r.validation.zarr")
    shutil.copytree(corpus / "stores" / "two.r.train.zarr", corpus / "stores" / "three.r.train.zarr")
    problems = verify_corpus(corpus)
    assert f"{TRAIN}: zarr.json: its sha256 is not the one in corpus.json" in problems
    assert "stores/two.r.validation.zarr: the store is missing" in problems
    assert "stores/three.r.train.zarr: the store is not in corpus.json" in problems


def test_a_table_beside_the_stores_is_held_by_its_sum(corpus: Path) -> None:
    (corpus / "gene_names.parquet").write_bytes(b"PAR1")
    assert verify_corpus(corpus) == ["gene_names.parquet: its bytes and sha256 are not those in corpus.json"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["stores"][0].update(n_samples=7), "the attribute n_samples is"),
        (lambda m: m["stores"][0].update(nnz=7), "corpus.json has"),
        (lambda m: m["stores"][0].update(n_genes_measured=8), "var/measured: 3 genes, corpus.json has 8"),
        (lambda m: m["stores"][0].pop("nnz"), "1 entries of stores lack a field"),
        (lambda m: m["stores"].reverse(), "not sorted by path"),
        (lambda m: m["stores"].pop(0), "stores/one.r.train.zarr: the store is not in corpus.json"),
        (lambda m: m["stores"][0].update(digest="0" * 64), "its digest does not fit its list of stores"),
        (lambda m: m["gene_axis"].update(n_genes=9), "is not the gene axis that corpus.json names"),
        (lambda m: m["sources"].pop("one"), "corpus.json: sources has two"),
        (lambda m: m.pop("digest"), "corpus.json: it has no digest"),
        (lambda m: m["stores"][0].update(n_samples="7"), "1 entries of stores lack a field, or have one of another"),
    ],
)
def test_a_stale_corpus_json_is_named(corpus: Path, change: Callable[[Any], None], words: str) -> None:
    edit_json(corpus / "corpus.json", change)
    problems = verify_corpus(corpus)
    assert any(words in problem for problem in problems), problems


def clear_mask(variant: dict[str, Any]) -> None:
    variant["measured"]["one"] = variant["measured"]["two"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["stores"][0].update(digest="0" * 64), f"{TRAIN} has another digest than in corpus.json"),
        (lambda v: v["stores"][0].update(nnz=1), f"{TRAIN} has another nnz than in corpus.json"),
        (lambda v: v["stores"][0].update(path="stores/gone.r.train.zarr"), "is not in corpus.json"),
        (lambda v: v["stores"].pop(), "its stores are not one of each split of each of its studies"),
        (lambda v: v["totals"]["train"].update(nnz=1), "its totals are"),
        (lambda v: v["vocabulary"].update(n_genes=1), "its vocabulary is not"),
        (lambda v: v["gene_axis"].update(n_genes=9), "its gene axis is not that of corpus.json"),
        (clear_mask, f"its mask of one is not var/measured of {TRAIN}"),
        (lambda v: v["measured"].update(one="eA=="), "a mask is damaged"),
        (lambda v: v["measured"].pop("one"), "its masks are not of its studies"),
        (lambda v: v["held_out"].append("one"), "one is held out and has a store in this corpus"),
        (lambda v: v.update(name="other"), "is ('diverserna-variant', '1', 'other')"),
        (lambda v: v.pop("stores"), "cannot be read: KeyError"),
    ],
)
def test_a_stale_variant_is_named(corpus: Path, change: Callable[[Any], None], words: str) -> None:
    edit_json(corpus / "variants" / "both.json", change)
    problems = verify_corpus(corpus)
    assert any(words in problem for problem in problems), problems
    assert all(problem.startswith("variants/both.json: ") for problem in problems), problems


def test_links_lead_to_the_train_stores_of_the_variant_or_are_not_there_at_all(corpus: Path) -> None:
    group = corpus / "variants" / "both.zarr"
    (group / "dataset_0").unlink()
    (group / "dataset_0").symlink_to(Path("..", "..", "stores", "one.r.validation.zarr"))
    (group / "dataset_2").symlink_to(Path("..", "..", "stores", "two.r.train.zarr"))
    assert verify_corpus(corpus) == [
        "variants/both.json: both.zarr/dataset_0 leads to ../../stores/one.r.validation.zarr, "
        "not to stores/one.r.train.zarr",
        "variants/both.json: both.zarr/dataset_2 is a member too many",
    ]
    for link in group.glob("dataset_*"):
        link.unlink()
    assert verify_corpus(corpus) == []


def test_a_batch_in_both_splits_is_found(corpus: Path) -> None:
    validation = corpus / "stores" / "one.r.validation.zarr"
    shutil.rmtree(validation)
    shutil.copytree(corpus / TRAIN, validation)
    problems = verify_corpus(corpus)
    assert any(problem.startswith("one.r: batch 'b") for problem in problems), "\n".join(problems)


def test_a_later_minor_version_is_read_and_another_major_is_refused(corpus: Path) -> None:
    edit_json(corpus / "corpus.json", lambda manifest: manifest.update(format_version="1.7", new_field=[1]))
    assert verify_corpus(corpus) == []
    edit_json(corpus / "corpus.json", lambda manifest: manifest.update(format_version="2.0"))
    with pytest.raises(InputError, match="of another format"):
        verify_corpus(corpus)


def test_a_folder_that_is_no_corpus_or_a_damaged_manifest_is_refused_with_advice(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no corpus here") as caught:
        verify_corpus(tmp_path)
    assert "results/demo/corpus" in str(caught.value)
    (corpus / "corpus.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        verify_corpus(corpus)


def test_a_store_is_checked_alone(corpus: Path, pool: Executor) -> None:
    ids = GeneAxis.read(corpus / "genes.parquet").ensembl_ids
    assert check_store(corpus / TRAIN, entry_of(corpus), ids, pool).problems == []
    assert check_store(corpus / "stores" / "none.zarr", entry_of(corpus), ids, pool).problems == [
        "the store is missing"
    ]
