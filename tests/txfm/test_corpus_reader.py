"""The reader: every sample once, repeatable order, resumable, and only what the manifest allows."""

import json
import shutil
import weakref
from collections import deque
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import zarr

import txfm
import txfm.corpus.stream
from txfm.corpus import Batch, Corpus, open_corpus
from txfm.corpus.rows import CsrRows, Piece, gather
from txfm.corpus.store import StoreReader
from txfm.errors import InputError
from txfm.statistics import mask_log_weights, mean_expression


def open_tiny(corpus, split: str = "train", **options: object) -> Corpus:  # type: ignore[no-untyped-def]
    return open_corpus(corpus.folder, "tiny", split, **({"batch_size": 16, "seed": 0} | options))  # type: ignore[arg-type]


def dense(batch: Batch, n_genes: int) -> np.ndarray:
    out = np.zeros((len(batch), n_genes), dtype=np.int64)
    rows = np.repeat(np.arange(len(batch)), np.diff(batch.indptr))
    out[rows, batch.positions] = batch.counts
    return out


def ids(corpus: Corpus) -> list[str]:
    return [sample_id for batch in corpus for sample_id in batch.sample_ids]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows and pools of a few blocks, so that the tiny corpus has many of both."""
    monkeypatch.setattr(txfm.corpus.stream, "BLOCK_NONZEROS", 300)


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_sample_comes_once_an_epoch_with_its_own_counts(tiny_corpus, small_blocks, shuffle: bool) -> None:  # type: ignore[no-untyped-def]
    corpus = open_tiny(tiny_corpus, shuffle=shuffle)
    seen: list[str] = []
    for batch in corpus:
        counts = dense(batch, len(corpus.vocabulary))
        for row, sample_id in enumerate(batch.sample_ids):
            study, number = sample_id.split(":train_")
            assert corpus.studies[batch.study_index[row]] == study
            stored = tiny_corpus.counts[study, "train"][int(number)]
            np.testing.assert_array_equal(counts[row], stored[corpus.vocabulary.axis_positions])
        seen += batch.sample_ids
    assert len(seen) == len(set(seen)) == corpus.n_samples == 132
    assert (seen == corpus.obs()["sample_id"].to_list()) is not shuffle


def test_vocabulary_is_what_some_study_measured_in_axis_order(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    corpus = open_tiny(tiny_corpus)
    assert corpus.vocabulary.axis_positions.tolist() == list(range(56))
    assert corpus.vocabulary.symbols[3] == "GENE3"
    assert corpus.measured.sum(axis=1).tolist() == [40, 30, 46]


def test_capped_vocabulary_ranks_genes_by_detection_rate_of_single_cells_in_training(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    rate = np.mean([(tiny_corpus.counts[study, "train"] > 0).mean(axis=0) for study in ("alpha", "beta")], axis=0)
    expected = sorted(np.argsort(-rate, kind="stable")[:10].tolist())
    assert open_tiny(tiny_corpus, max_genes=10).vocabulary.axis_positions.tolist() == expected


def test_without_single_cells_the_cap_counts_bulk_samples(write_corpus, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    corpus = write_corpus(tmp_path, ("gamma",))
    assert len(open_tiny(corpus, max_genes=10).vocabulary) == 10


def test_order_is_a_function_of_seed_and_epoch(tiny_corpus, small_blocks) -> None:  # type: ignore[no-untyped-def]
    corpus = open_tiny(tiny_corpus)
    first, second = ids(corpus), ids(corpus)
    assert first != second
    assert sorted(first) == sorted(second)
    assert ids(open_tiny(tiny_corpus, seed=1)) != first
    again = open_tiny(tiny_corpus, memory_bytes=0)
    again.set_epoch(1)
    assert ids(again) == second


def test_all_stores_are_mixed(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    first = next(iter(open_tiny(tiny_corpus, batch_size=60)))
    assert len(set(first.study_index.tolist())) == 3


@pytest.mark.parametrize("n_before", [1, 5, 8])
def test_stream_resumes_in_mid_epoch_without_reading_again(  # type: ignore[no-untyped-def]
    tiny_corpus, small_blocks, monkeypatch: pytest.MonkeyPatch, n_before: int
) -> None:
    whole = ids(open_tiny(tiny_corpus))
    interrupted = open_tiny(tiny_corpus)
    stream = iter(interrupted)
    n_seen = sum(len(next(stream)) for _ in range(n_before))
    state = json.loads(json.dumps(interrupted.state_dict()))
    stream.close()  # type: ignore[attr-defined]
    n_read = 0
    read_rows = StoreReader.read_rows

    def counting(self: StoreReader, start: int, stop: int, genes: object, **how: object):  # type: ignore[no-untyped-def]
        nonlocal n_read
        n_read += stop - start
        return read_rows(self, start, stop, genes, **how)

    monkeypatch.setattr(StoreReader, "read_rows", counting)
    resumed = open_tiny(tiny_corpus)
    resumed.load_state_dict(state)
    rest = [sample_id for batch in resumed for sample_id in batch.sample_ids]
    assert rest == whole[n_seen:]
    assert n_read <= len(rest) + 40  # at most the rest of the pool in which the stream stood
    assert resumed.state_dict()["next_batch"] == 0


def test_state_of_another_stream_is_refused(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    state = open_tiny(tiny_corpus, seed=3).state_dict()
    with pytest.raises(InputError, match="another stream"):
        open_tiny(tiny_corpus).load_state_dict(state)


@pytest.mark.parametrize(("memory_bytes", "kept"), [(10**9, True), (9000, False), (0, False)])
def test_a_split_is_kept_in_memory_as_a_whole_or_not_at_all(  # type: ignore[no-untyped-def]
    tiny_corpus, small_blocks, memory_bytes: int, kept: bool
) -> None:
    corpus = open_tiny(tiny_corpus, memory_bytes=memory_bytes)
    list(corpus)
    assert corpus._cache.held_bytes == 0, "one pass alone keeps nothing: memory that is touched first is slow"
    list(corpus)
    first = dict(corpus._cache._blocks)
    list(corpus)
    assert sum(map(len, first.values())) == (132 if kept else 0)
    assert all(corpus._cache._blocks[key] is block for key, block in first.items())
    assert corpus._cache.held_bytes == sum(block.nbytes for block in first.values()) <= memory_bytes


def test_a_capped_vocabulary_counts_only_its_own_genes_for_the_memory(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    nonzeros = sum((tiny_corpus.counts[study, "train"] > 0).sum() for study in ("alpha", "beta", "gamma"))
    corpus = open_tiny(tiny_corpus, max_genes=10, memory_bytes=8 * int(nonzeros) - 1)
    list(corpus)
    list(corpus)
    assert corpus._cache.held_bytes > 0
    assert open_tiny(tiny_corpus, memory_bytes=8 * int(nonzeros) - 1)._cache.memory_bytes == 0


def test_training_never_opens_a_validation_store(write_corpus, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    corpus = write_corpus(tmp_path)
    for store in (tmp_path / "stores").glob("*.validation.zarr"):
        shutil.rmtree(store)
    assert len(ids(open_tiny(corpus))) == 132
    with pytest.raises(InputError, match="missing"):
        open_tiny(corpus, "validation")


def test_validation_has_its_own_samples_and_the_training_vocabulary(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    train, validation = open_tiny(tiny_corpus), open_tiny(tiny_corpus, "validation")
    assert validation.vocabulary.ensembl_ids == train.vocabulary.ensembl_ids
    assert validation.n_samples == 30
    assert not set(ids(validation)) & set(ids(train))


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "variants" / "tiny.json"
    manifest = json.loads(path.read_text())
    manifest["stores"][0] |= changes
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "other"}, "digest of store alpha.plain.train.zarr"),
        ({"study": "omega"}, "held-out study"),
        ({"path": "../evaluation/omega.zarr"}, "outside the corpus"),
        ({"path": "stores/../alpha.zarr"}, "outside the corpus"),
        ({"path": "stores/alpha.plain.validation.zarr", "digest": "digest-alpha-validation"}, "split of store"),
    ],
)
def test_a_manifest_that_does_not_fit_its_stores_is_refused(
    write_corpus, tmp_path: Path, changes, message: str
) -> None:  # type: ignore[no-untyped-def]
    corpus = write_corpus(tmp_path, ("alpha",))
    change_manifest(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        open_tiny(corpus)


def test_unknown_names_are_answered_with_the_nearest_one(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        open_corpus(tiny_corpus.folder, "tinny", "train", batch_size=1, seed=0)
    with pytest.raises(InputError, match="train or validation"):
        open_tiny(tiny_corpus, "test")


def test_batch_size_and_seed_have_defaults(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    corpus = txfm.open_corpus(tiny_corpus.folder, "tiny", "train")
    assert (corpus.batch_size, corpus.seed) == (256, 0)
    assert [len(batch) for batch in corpus] == [132]


@pytest.mark.parametrize("batch_size", [0, -4])
def test_a_batch_size_below_one_is_refused(tiny_corpus, batch_size: int) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="1 sample or more"):
        open_tiny(tiny_corpus, batch_size=batch_size)


@pytest.mark.parametrize("name", ["variants/tiny.json", "corpus.json"])
@pytest.mark.parametrize("content", [b'{"format": "diverserna-', b"[]", b"\xff\xfe", b""])
def test_a_damaged_file_of_the_corpus_is_named(write_corpus, tmp_path: Path, name: str, content: bytes) -> None:  # type: ignore[no-untyped-def]
    corpus = write_corpus(tmp_path, ("gamma",))
    (corpus.folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"(?s)damaged.*{name}"):
        open_tiny(corpus)


@pytest.mark.parametrize("changes", [{"stores": [{"path": "stores/a.zarr"}]}, {"stores": None}, {"held_out": 3}])
def test_a_manifest_without_a_field_is_named(write_corpus, tmp_path: Path, changes: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    corpus = write_corpus(tmp_path, ("gamma",))
    path = corpus.folder / "variants" / "tiny.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=r"(?s)damaged.*variants/tiny\.json"):
        open_tiny(corpus)


def test_mean_expression_is_the_mean_of_the_poisson_target(tiny_corpus, small_blocks) -> None:  # type: ignore[no-untyped-def]
    corpus = open_tiny(tiny_corpus)
    means = mean_expression(corpus, library_size=1e5)
    counts = tiny_corpus.counts["beta", "train"][:, corpus.vocabulary.axis_positions]
    targets = 1 + 1e5 * counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(means.by_study[1], targets.mean(axis=0), rtol=1e-12)
    only_alpha = corpus.measured.sum(axis=0) == corpus.measured[0].astype(int)
    np.testing.assert_allclose(means.overall[:10], means.by_study[0, :10], rtol=1e-12)
    assert only_alpha[:10].all()


def test_mean_expression_of_plain_log1p_is_that_of_raw_counts(tiny_corpus, small_blocks) -> None:  # type: ignore[no-untyped-def]
    corpus = open_tiny(tiny_corpus)
    scaled, plain = (mean_expression(corpus, 1e5, name) for name in ("library_size_log1p", "log1p"))
    np.testing.assert_array_equal(plain.by_study, scaled.by_study)  # validation compares on one scale
    counts = {
        study: tiny_corpus.counts[study, "train"][:, corpus.vocabulary.axis_positions] for study in corpus.studies
    }
    everywhere = corpus.measured.all(axis=0)
    expected = 1 + np.concatenate(list(counts.values())).mean(axis=0)
    np.testing.assert_allclose(plain.overall[everywhere], expected[everywhere], rtol=1e-12)


def test_detected_samples_are_counted_over_the_split(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    for split in ("train", "validation"):
        corpus = open_corpus(tiny_corpus.folder, "tiny", split, max_genes=30)
        expected = sum((tiny_corpus.counts[study, split] > 0).sum(axis=0) for study in corpus.studies)
        assert corpus.n_detected.tolist() == expected[corpus.vocabulary.axis_positions].tolist()


def test_masking_weights_are_powers_of_the_detecting_samples(tiny_corpus) -> None:  # type: ignore[no-untyped-def]
    corpus = open_tiny(tiny_corpus)
    assert mask_log_weights(corpus, 0.0) is None
    for temperature in (-1.0, 0.5):
        weights = np.exp(mask_log_weights(corpus, temperature))
        np.testing.assert_allclose(weights, np.maximum(corpus.n_detected, 1.0) ** temperature, rtol=1e-12)


def test_removing_a_gene_from_one_study_changes_no_other_studys_batches(write_corpus, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first, second = write_corpus(tmp_path / "a"), write_corpus(tmp_path / "b")
    path = tmp_path / "b" / "stores" / "beta.plain.train.zarr"
    measured = zarr.open_group(path, mode="r+")["var/measured"]
    measured[25] = False  # type: ignore[index]
    kept, changed = open_tiny(first, shuffle=False), open_tiny(second, shuffle=False)
    assert changed.measured[0].tolist() == kept.measured[0].tolist()
    assert changed.measured[1].sum() == kept.measured[1].sum() - 1
    for before, after in zip(kept, changed, strict=True):
        others = before.study_index != 1
        np.testing.assert_array_equal(dense(before, 56)[others], dense(after, 56)[others])


def test_one_block_at_a_time_is_in_memory_while_streaming_statistics(tiny_corpus, small_blocks) -> None:  # type: ignore[no-untyped-def]
    corpus = open_tiny(tiny_corpus, memory_bytes=0)
    sizes = [len(rows) for _, rows in corpus.first_rows(60)]
    assert sum(sizes) == 60 + 50 + 12
    assert max(sizes) < 40


def test_a_block_is_let_go_before_the_next_one_is_waited_for() -> None:
    """So the memory of one block serves the next, and a large batch needs no second copy of its rows."""
    states = []

    class Block(Future[CsrRows]):
        def result(self, timeout: float | None = None) -> CsrRows:
            states.append([block() is None for block in blocks])
            return super().result(timeout)

    pieces: deque[tuple[Future[CsrRows], Piece]] = deque()
    blocks = []
    for place in range(3):
        future = Block()
        rows = CsrRows(np.array([0, 1]), np.array([place], np.int32), np.array([place + 5], np.int32))
        blocks.append(weakref.ref(rows))
        future.set_result(rows)
        pieces.append((future, Piece(rows=np.array([0]), places=np.array([place]))))
        del rows, future
    found = gather(txfm.corpus.stream._taken(pieces), np.ones(3, dtype=np.int64))
    assert found.counts.tolist() == [5, 6, 7]
    assert states == [[False] * 3, [True, False, False], [True, True, False]]
