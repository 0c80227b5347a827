"""Curates a toy study as often as it is told to, each time in a process of its own that can be killed.

    python store_program.py FOLDER     writes the sources, then reads lines: the name of a folder of stores a line

For each line it prints the id of a process group that curates into that folder, then the exit code of that process. The
imports are done once, before the first line.
"""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl

from curation import obs_writer, shards, spool
from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.build import Curation, curate_training
from curation.catalog import Study
from curation.recipe import Recipe

N_SAMPLES, N_GENES = 400, 300


def write_sources(folder: Path) -> None:
    """Write an axis and a dense table."""
    ids = [f"ENSG{i:011d}" for i in range(N_GENES)]
    genes = pl.DataFrame({"ensembl_id": ids, "symbol": "", "biotype": "", "chromosome": ""})
    names = pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))
    GeneAxis(genes=genes, names=names).write(folder / "genes.parquet")
    counts = np.random.default_rng(0).poisson(1.0, (N_SAMPLES, N_GENES)).tolist()
    rows = [f"b{i % 4}-{i}," + ",".join(map(str, row)) for i, row in enumerate(counts)]
    with gzip.open(folder / "toy.csv.gz", "wt", compresslevel=1) as handle:
        handle.write("\n".join(["," + ",".join(reversed(ids)), *rows, ""]))


def study() -> Study:
    """Return the study of that table."""
    part = {"name": "p", "format": "dense_text", "orientation": "samples_by_genes", "files": {"matrix": "toy.csv.gz"}}
    return Study.from_mapping(
        {"name": "toy", "assay": "sc", "count_kind": "umi", "gene_ids": "ensembl", "gene_prefix_keep": None}
        | {"expected": None, "simulation": None, "obs": {"batch": {"pattern": "^(b[0-9])"}}, "parts": [part]}
        | {"files": {"toy.csv.gz": {"addresses": ["file:toy"]}}, "licence": "CC0", "role": "train"}
        | {"publication_key": ["toy", "toy"], "organism": "human", "simulated": False, "filters": []}
        | {"alternatives": [], "do_not_use": [], "citation": {}, "title": "", "notes": "", "status": {}}
    )


def main() -> None:
    """Write the sources, then serve."""
    shards.CHUNK_ELEMENTS, shards.CHUNKS_PER_SHARD = 512, 8
    obs_writer.ROWS_PER_CHUNK, spool.RUN_NNZ = 64, 2**13
    sources = Path(sys.argv[1])
    writer = os.fork()  # Polars' threads would not survive a later fork, so this process never uses them
    if not writer:
        write_sources(sources)
        os._exit(0)
    os.waitpid(writer, 0)
    print("ready", flush=True)
    for line in sys.stdin:
        stores = Path(line.strip())
        process = os.fork()
        if not process:
            os.setpgid(0, 0)
            task = Curation(
                study=study(),
                recipe=Recipe(),
                recipe_name="r",
                genes=sources / "genes.parquet",
                sources=sources,
                seed=0,
            )
            paths = {split: stores / f"toy.r.{split}.zarr" for split in ("train", "validation")}
            curate_training(task, **paths, report=stores / "toy.r.json", validation_share=0.25)
            os._exit(0)
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
