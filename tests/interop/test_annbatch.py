"""annbatch 0.3 on a variant as it lies on disk: exactly the rows of its train stores come out, each once."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from tool_environments import interpreter_from, tool_python

# In an environment of its own: annbatch needs Python 3.12, and an anndata that we do not have yet. A row becomes the
# sum of its text, so that the two sides compare without agreeing on an order.
PROGRAM = """
import hashlib, json, sys
from collections import Counter
import numpy as np, zarr
from annbatch import DatasetCollection, Loader

zarr.config.set({"codec_pipeline.path": sys.argv[2]})
loader = Loader(batch_size=32, chunk_size=16, preload_nchunks=4, shuffle=True, rng=np.random.default_rng(0))
loader.use_collection(DatasetCollection(sys.argv[1], mode="r"))
rows, n_batches, studies = Counter(), 0, set()
for batch in loader:
    n_batches += 1
    counts = batch["X"].tocsr()
    studies |= set(batch["obs"]["study"].astype(str))
    names = batch["obs"].index
    for row in range(counts.shape[0]):
        span = slice(counts.indptr[row], counts.indptr[row + 1])
        order = np.argsort(counts.indices[span])
        columns = counts.indices[span][order].astype(int).tolist()
        text = json.dumps([columns, counts.data[span][order].astype(int).tolist()])
        rows[hashlib.sha256(text.encode()).hexdigest()] += 1
print(json.dumps({"rows": rows, "n_batches": n_batches, "n_var": loader.n_var, "studies": sorted(studies)}))
"""
PIPELINES = ("zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs.ZarrsCodecPipeline")


def rows_of(store: ad.AnnData) -> Counter[str]:
    """Return the sums of all rows of a store."""
    found: Counter[str] = Counter()
    for row in range(store.n_obs):
        span = slice(store.X.indptr[row], store.X.indptr[row + 1])
        text = json.dumps([store.X.indices[span].astype(int).tolist(), store.X.data[span].astype(int).tolist()])
        found[hashlib.sha256(text.encode()).hexdigest()] += 1
    return found


@pytest.fixture(scope="module")
def annbatch_python() -> Path:
    return tool_python("annbatch", interpreter_from(12))


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("variant", "pipeline"), zip(("minus_bulk", "all"), PIPELINES, strict=True), ids=["zarr", "zarrs"]
)
def test_annbatch_yields_exactly_the_train_rows_of_a_variant(
    small_corpus: Path, annbatch_python: Path, variant: str, pipeline: str
) -> None:
    done = subprocess.run(
        [
            str(annbatch_python),
            "-W",
            "ignore",
            "-c",
            PROGRAM,
            str(small_corpus / "variants" / f"{variant}.zarr"),
            pipeline,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    manifest = json.loads((small_corpus / "variants" / f"{variant}.json").read_text())
    expected: Counter[str] = Counter()
    for entry in manifest["stores"]:
        if entry["split"] == "train":
            expected += rows_of(ad.read_zarr(small_corpus / entry["path"]))
    assert Counter(found["rows"]) == expected
    assert sum(expected.values()) == manifest["totals"]["train"]["n_samples"]
    assert found["studies"] == sorted(manifest["studies"])
    assert found["n_var"] == manifest["gene_axis"]["n_genes"]
    assert found["n_batches"] == int(np.ceil(sum(expected.values()) / 32))
