"""Every byte of a store depends on sources, recipe and seed: not on threads, blocks, runs or pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation import blocks, build, obs_writer, shards, spool
from curation.axis import GeneAxis
from curation.build import Curation, curate_training
from curation.catalog import Study
from curation.readers import sparse_rows, triplet_spool
from curation.recipe import Recipe

N_SAMPLES = 400


@pytest.fixture
def curate(
    tmp_path: Path,
    axis: GeneAxis,
    make_study: Callable[..., Study],
    write_mtx: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., dict[str, bytes]]:
    """Curate one study with a number of threads and changed sizes; return every file of both stores."""
    axis.write(tmp_path / "genes.parquet")
    genes = ["TP53", "ACTB", "QARS1", "MARCHF1"]
    counts = np.random.default_rng(2).poisson(2, (N_SAMPLES, len(genes)))
    files = dict(write_mtx(tmp_path / "sources", counts, genes, [f"b{i % 4}_{i}" for i in range(N_SAMPLES)]))
    monkeypatch.setattr(shards, "CHUNK_ELEMENTS", 128)
    monkeypatch.setattr(shards, "CHUNKS_PER_SHARD", 3)
    monkeypatch.setattr(obs_writer, "ROWS_PER_CHUNK", 50)

    def run(threads: int, sizes: Mapping[tuple[Any, str], int] | None = None) -> dict[str, bytes]:
        with pytest.MonkeyPatch.context() as patch:
            for (module, name), size in (sizes or {}).items():
                patch.setattr(module, name, size)
            folder = tmp_path / f"by_{threads}_{len(sizes or {})}"
            study = make_study(
                name="toy", parts=[{"name": "p", "format": "mtx", "files": files}], obs={"batch": {"pattern": "^(b.)_"}}
            )
            task = Curation(
                study=study,
                recipe=Recipe(),
                recipe_name="r",
                genes=tmp_path / "genes.parquet",
                sources=tmp_path / "sources",
                seed=0,
                threads=threads,
            )
            stores = {split: folder / f"toy.r.{split}.zarr" for split in ("train", "validation")}
            curate_training(task, **stores, report=folder / "toy.json", validation_share=0.25)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    return run


def test_any_number_of_threads_and_any_sizes_of_blocks_write_the_same_bytes(
    curate: Callable[..., dict[str, bytes]],
) -> None:
    expected = curate(2)
    assert sum(path.startswith("toy.r.train.zarr/X/data/c/") for path in expected) > 2
    assert curate(1) == expected
    assert curate(8) == expected
    sizes = {
        (blocks, "BLOCK_NNZ"): 101,
        (sparse_rows, "BLOCK_NNZ"): 101,
        (triplet_spool, "BLOCK_NNZ"): 101,
        (spool, "RUN_NNZ"): 2**6,
        (spool, "BUFFER_BYTES"): 500,
        (build, "PIECE_NNZ"): 37,
    }
    assert curate(3, sizes) == expected


class _Held:
    """An executor that does its work at once and counts what an array was given and has not written."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        class Done:
            result = staticmethod(lambda: value)

        value = function(*arguments)
        return Done


def test_what_a_writer_holds_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not measured: waiting chunks of an array, and bytes that a spool keeps before it writes."""
    import zarr
    from scipy import sparse

    monkeypatch.setattr(shards, "CHUNK_ELEMENTS", 64)
    monkeypatch.setattr(spool, "BUFFER_BYTES", 2_000)
    group = zarr.open_group(tmp_path / "group", mode="w", zarr_format=3)
    held: dict[int, int] = {}
    for n_rows in (1_000, 20_000):
        array = shards.ShardedArray(
            group,
            tmp_path / "group",
            f"of_{n_rows}",
            length=n_rows,
            dtype=np.dtype("int32"),
            pool=_Held(),  # type: ignore[arg-type]
            hasher=_Held(),  # type: ignore[arg-type]
        )
        samples = spool.SampleSpool(tmp_path, n_columns=10, expected_nnz=1)
        most = 0
        for start in range(0, n_rows, 100):
            array.append(np.arange(start, start + 100))
            rows = np.zeros(100, dtype=spool.ROW)
            samples.append(rows, [b"x"] * 100, sparse.csr_matrix(np.ones((100, 10), dtype=np.int32)))
            most = max(most, len(array._waiting) * 64 * 4 + samples._buffered)
        array.close()
        samples.close()
        held[n_rows] = most
    assert held[20_000] <= held[1_000] + 64 * 4
    assert held[20_000] < 2 * 2_000 + 100 * (10 * 6 + spool.ROW.itemsize + 1) + shards.WAITING_CHUNKS * 64 * 4 + 64 * 4
