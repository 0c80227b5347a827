"""The commands of the readers that are compared, and what they need: an environment, a parquet copy."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from corpus_reading import inputs, page_cache
from corpus_reading.passes import Runner

PARTS = Path(__file__).parent
ROOT = PARTS.parents[1]
BATCH_SIZE = 1_024
REQUIREMENTS = ("annbatch[zarrs]==0.3.1", "h5py", "scdataset==0.3.0", "datasets==5.2.0")
# Best of `tune` on this machine: (chunk_size, preload_nchunks)
ANNBATCH = {"sc": (512, 16), "bulk": (64, 16), "mixed": (512, 16)}
CEILINGS = ("decode", "gather", "csr_rows")
SLOW = ("scdataset", "ann_collection", "random_rows", "parquet")


def competitors_python(venv: Path) -> str | None:
    """Return the Python of the competitors, whose environment is made if need be; None without a Python 3.12."""
    python = venv / "bin" / "python"
    if not python.exists():
        # pyenv's own first: its shim answers also where no 3.12 is chosen
        found = [*map(str, sorted(Path.home().glob(".pyenv/versions/3.12*/bin/python"))), shutil.which("python3.12")]
        base = next((path for path in found if path), None)
        if base is None:
            return None
        subprocess.run([base, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return str(python)


def runners(
    names: list[str],
    profile_name: str,
    corpus: Path,
    variant: str,
    *,
    python: str | None,
    also: dict[str, Path],
    h5ad: Path | None = None,
    annbatch_settings: tuple[int, int] | None = None,
) -> list[Runner]:
    """Return the runners of the named readers over a corpus."""
    store_files = page_cache.files_below(
        path for path in sorted((corpus / "stores").iterdir()) if ".train." in path.name
    )
    common: dict[str, Any] = {"variant": variant, "batch_size": BATCH_SIZE, "seed": 0, "threads": 2}
    chunk_size, preload = annbatch_settings or ANNBATCH[profile_name]
    options = {
        "annbatch": {"chunk_size": chunk_size, "preload_nchunks": preload},
        "scdataset": {"h5ad": str(h5ad), "block_size": 16, "fetch_factor": 16, "workers": 2},
        "ann_collection": {"h5ad": str(h5ad)},
        "parquet": {"parquet": str(parquet_folder(corpus)), "buffer_size": 10_000},
    }
    files = {"scdataset": [h5ad], "ann_collection": [h5ad], "parquet": [parquet_folder(corpus)]}
    titles = {"annbatch": f"annbatch {chunk_size}x{preload}"}
    chosen = []
    for name in names:
        if name in CEILINGS:
            chosen += [
                Runner(
                    title=f"{name} alone, {n} thread{'s' * (n > 1)}",
                    command=[
                        *(sys.executable, "-W", "ignore", str(PARTS / "ceilings.py"), name, str(corpus)),
                        *("--variant", variant, "--threads", str(n), "--batch-size", str(BATCH_SIZE)),
                    ],
                    warm_only=True,
                )
                for n in (1, 2)
            ]
            continue
        if name != "ours" and (python is None or (name in SLOW and h5ad is None)):
            continue
        text = json.dumps(common | options.get(name, {}))
        command = ["-W", "ignore", str(PARTS / "one_pass.py"), name, str(corpus), text]
        read = page_cache.files_below(path for path in files[name] if path) if name in files else store_files
        if name == "ours":
            for title, folder in {"ours": ROOT, **{f"ours ({key})": path for key, path in also.items()}}.items():
                environment = {"PYTHONPATH": str(folder)}
                chosen.append(
                    Runner(title=title, command=[sys.executable, *command], files=read, environment=environment)
                )
        else:
            environment = {"PYTHONPATH": ""}
            chosen.append(
                Runner(
                    title=titles.get(name, name), command=[str(python), *command], files=read, environment=environment
                )
            )
    return chosen


def parquet_folder(corpus: Path) -> Path:
    """Return where the parquet files of a corpus' only study lie."""
    return corpus / "source" / "parquet"


def write_parquet(profile: inputs.Profile, folder: Path) -> None:
    """Write the profile's only study as parquet, a row a sample, shuffled files of 10,000 rows."""
    import anndata as ad
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = parquet_folder(profile.corpus(folder))
    if target.is_dir():
        return
    partial = target.with_name(".parquet.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    x = ad.read_h5ad(profile.h5ad(folder), backed="r").X
    for number, first in enumerate(range(0, x.shape[0], 10_000)):
        block = x[first : min(first + 10_000, x.shape[0])]
        offsets = pa.array(block.indptr.astype("int32"))
        columns = {
            "positions": pa.ListArray.from_arrays(offsets, pa.array(block.indices.astype("uint16"))),
            "counts": pa.ListArray.from_arrays(offsets, pa.array(block.data.astype("int32"))),
        }
        pq.write_table(pa.table(columns), partial / f"{number:03}.parquet", row_group_size=1_000, compression="zstd")
    partial.rename(target)


def annbatch_batches(
    python: str, corpus: Path, args: argparse.Namespace, batch_size: int, seed: int
) -> list[np.ndarray]:
    """Return the rows of annbatch's batches."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "order.npz"
        links = corpus / "variants" / f"{args.variant}.zarr"
        chunk_size, preload = ANNBATCH["mixed"]
        numbers = {"batch-size": batch_size, "chunk-size": chunk_size, "preload-nchunks": preload}
        numbers |= {"seed": seed, "batches": args.batches}
        options = [text for name, value in numbers.items() for text in (f"--{name}", str(value))]
        command = [python, "-W", "ignore", str(PARTS / "annbatch_order.py"), str(links), str(out), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": ""})
        found = np.load(out)
        return np.split(found["rows"], np.cumsum(found["lengths"])[:-1])
