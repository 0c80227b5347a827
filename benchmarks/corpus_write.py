"""The writer of a corpus alone: rows come from a pool on disk, go through the shuffling spool, and end as a store.

    python benchmarks/corpus_write.py [--rows 100000 1000000] [--repeats 3] [--annbatch-python PYTHON] [--folder FOLDER]
    python benchmarks/corpus_write.py --full [--share 1.0] --folder FOLDER

Programs, interleaved, each a process of its own; the rows lie in the page cache:
  ours          SampleSpool, columns sorted, StoreWriter: seeded shuffle, Zarr shards, CRCs, sums of files, digests
  verify        `curation verify` of one store: sums, decode, all checks of its content
  anndata       a table in memory to Zarr shards of the same grid, default codec, no shuffle
  annbatch      DatasetCollection.add_adatas, which shuffles; Python 3.12 with annbatch 0.3.1
The two others only up to 100,000 rows: they hold the table. Time is of the writing, without imports and, for the
two others, without what brings the rows into memory. Peak memory: anonymous (RssAnon, every 20 ms), and
VmHWM, which counts pages of the pool's files, too.

--full writes the nine studies of Table 1 with their numbers of samples, corpus.json and a variant, and verifies them.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from umi_cells import BULK, CELLS, Pool, Shape, write_pool

SHAPES = {"sc": CELLS, "bulk": BULK}
COMPETITOR_ROWS = 100_000
# Genes of the axis that DiverseRNA is on, about
FULL_AXIS = 60_000
ANNDATA = """
import sys, time, numpy as np, anndata as ad, zarr
from scipy import sparse
sys.path.insert(0, sys.argv[5])
from umi_cells import Pool, CELLS
from pathlib import Path
program, pool, rows, out = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
X = sparse.vstack([counts for _, counts in Pool(pool, CELLS).blocks(rows)], format="csr")
table = ad.AnnData(X)
table.obs_names = [f"toy:cell_{i}" for i in range(rows)]
if program == "anndata":
    began, cpu = time.perf_counter(), time.process_time()
    with ad.settings.override(zarr_write_format=3):
        group = zarr.open_group(out / "store.zarr", mode="w", zarr_format=3)
        def callback(write, group, key, elem, dataset_kwargs, iospec):
            if iospec.encoding_type in {"array"} and elem.shape[0] > 2**17:
                chunk = 2**17
                shard = min(256, -(-elem.shape[0] // chunk)) * chunk
                dataset_kwargs = dict(dataset_kwargs, shards=(shard,), chunks=(chunk,))
            write(group, key, elem, dataset_kwargs=dataset_kwargs)
        ad.experimental.write_dispatched(group, "/", table, callback=callback)
else:
    import annbatch
    table.write_h5ad(out / "source.h5ad")
    nnz = table.X.nnz
    del table, X
    began, cpu = time.perf_counter(), time.process_time()
    collection = annbatch.DatasetCollection(zarr.open_group(out / "store.zarr", mode="w", zarr_format=3))
    collection.add_adatas([str(out / "source.h5ad")])
seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
size = sum(p.stat().st_size for p in (out / "store.zarr").rglob("*") if p.is_file())
import json
nnz = int(Pool(pool, CELLS).nnz(rows))
print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes_a_nonzero": size / nnz}))
"""


def write_store(path: Path, study: str, split: str, n_rows: int, pool: Pool, axis: list[str], assay: str) -> None:
    """Write `n_rows` rows of a pool, shuffled, as the curate step does once samples and genes are chosen."""
    from curation.build import PIECE_NNZ
    from curation.in_order import in_order
    from curation.labels import LABELS
    from curation.obs_writer import SAMPLE
    from curation.readers.read_ahead import read_ahead
    from curation.scratch import scratch_folder
    from curation.slots import sort_columns
    from curation.spool import ROW, SampleSpool, shuffle_keys
    from curation.store import StoreIdentity, StoreWriter

    with (
        scratch_folder(path.parent, path.stem) as scratch,
        ThreadPoolExecutor(2) as threads,
        ThreadPoolExecutor(1) as hasher,
    ):
        spool, nnz = SampleSpool(scratch, n_columns=len(axis), expected_nnz=n_rows * pool.mean_nnz), 0
        for first, counts in pool.blocks(n_rows):
            rows, numbers = np.zeros(counts.shape[0], ROW), np.arange(first, first + counts.shape[0])
            rows["key"], rows["source_row"] = shuffle_keys(study, numbers), numbers
            spool.append(rows, [b"%s:sample_%d" % (study.encode(), i) for i in numbers], counts)
            nnz += counts.nnz
        measured = np.arange(len(axis)) < pool.n_measured
        var = pd.DataFrame({"symbol": "", "measured": measured}, index=pd.Index(axis, name="ensembl_id", dtype=object))
        writer = StoreWriter(
            StoreIdentity(
                path=path, study=study, recipe="r", split=split, assay=assay, simulated=True, var=var, n_samples=n_rows,
                nnz=nnz, attributes={"count_kind": "umi", "n_genes_measured": int(measured.sum())},
            ),
            scratch=scratch, pool=threads, hasher=hasher,
        )  # fmt: skip

        def pieces() -> Iterator[tuple]:
            for run in read_ahead(spool.runs()):
                names = spool.names(run.number)
                order = np.lexsort((run.rows["source_row"], run.rows["key"]))
                before = np.cumsum(run.rows["nnz"][order], dtype=np.int64)
                for part in np.split(order, np.flatnonzero(np.diff(before // PIECE_NNZ)) + 1):
                    yield run, part, [names[i] for i in part.tolist()]

        def counts_of(piece: tuple):
            run, order, _ = piece
            counts = run.counts[order]
            counts.has_sorted_indices = False  # a table's genes come in another order than the axis
            return sort_columns(counts)

        for (run, order, names), counts in in_order(threads, counts_of, pieces(), ahead=2):
            samples = np.zeros(len(order), SAMPLE)
            samples["n_genes"], samples["source_row"] = np.diff(counts.indptr), run.rows["source_row"][order]
            samples["library_size"] = np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
            samples["fingerprint"] = shuffle_keys(f"fingerprint of {study}", samples["source_row"])
            writer.append(counts, samples, names)
        spool.close()
        writer.finish(dict.fromkeys(LABELS, np.array([""], dtype=object)), {"study": study})


def ids_of(n_genes: int) -> list[str]:
    """Return the ids of an axis."""
    return [f"ENSG{i:011d}" for i in range(n_genes)]


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def child(program: str, pool: Path, rows: int, out: Path) -> None:
    """Write or verify one store; print what was measured."""
    from curation.file_sums import file_sum
    from curation.variant_manifest import STORE_FIELDS
    from curation.verify_store import check_store

    store = out / "toy.r.train.zarr"
    began, cpu = time.perf_counter(), time.process_time()
    if program == "verify":
        attributes = json.loads((store / "zarr.json").read_text())["attributes"]
        entry = {name: attributes[name] for name in STORE_FIELDS}
        with ThreadPoolExecutor(2) as threads:
            entry["zarr_json_sha256"] = file_sum(store / "zarr.json")["sha256"]
            assert not check_store(store, entry, ids_of(CELLS.n_genes), threads).problems
    else:
        write_store(store, "toy", "train", rows, Pool(pool, CELLS), ids_of(CELLS.n_genes), "sc")
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    per_nonzero = folder_bytes(store) / Pool(pool, CELLS).nnz(rows)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes_a_nonzero": per_nonzero}))


def measured(command: list[str]) -> dict[str, float]:
    """Run a command; return what it printed, and its peak memory in MB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peaks = {"RssAnon": 0.0, "VmHWM": 0.0}
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        for name in peaks:
            found = re.search(rf"{name}:\s+(\d+)", status)
            peaks[name] = max(peaks[name], int(found[1]) / 1024 if found else 0.0)
        time.sleep(0.02)
    assert process.stdout is not None
    answer = process.stdout.read()
    assert process.wait() == 0, command
    return json.loads(answer.splitlines()[-1]) | peaks


def compare(folder: Path, row_numbers: list[int], repeats: int, annbatch_python: str) -> None:
    """Print speed, size and memory of all writers."""
    pool = write_pool(folder / "pool_sc", CELLS)
    here = str(Path(__file__).resolve().parent)
    for rows in row_numbers:
        results: dict[str, list[dict[str, float]]] = {}
        for _ in range(repeats):
            out = folder / "out"
            programs = ["ours", "verify"]
            programs += ["anndata"] if rows <= COMPETITOR_ROWS else []
            programs += ["annbatch"] if rows <= COMPETITOR_ROWS and annbatch_python else []
            for program in programs:
                if program != "verify":
                    shutil.rmtree(out, ignore_errors=True)
                    out.mkdir()
                if program in ("anndata", "annbatch"):
                    python = annbatch_python if program == "annbatch" else sys.executable
                    command = [python, "-c", ANNDATA, program, str(pool), str(rows), str(out), here]
                else:
                    command = [sys.executable, __file__, "--child", program, str(pool), str(rows), str(out)]
                results.setdefault(program, []).append(measured(command))
        shutil.rmtree(out)
        for program, found in results.items():
            speeds = sorted(rows / one["seconds"] for one in found)
            print(
                f"{rows:>9,} rows  {program:<13} {statistics.median(speeds):>9,.0f} samples/s ({speeds[0]:,.0f} to "
                f"{speeds[-1]:,.0f})  {min(one['cpu'] for one in found) / rows * 1e6:,.0f} us of a core a sample  "
                f"{found[0]['bytes_a_nonzero']:.2f} bytes a non-zero  "
                f"{max(one['RssAnon'] for one in found):,.0f} MB anonymous, "
                f"{max(one['VmHWM'] for one in found):,.0f} MB in all",
                flush=True,
            )


def full(folder: Path, share: float) -> None:
    """Write a corpus of the size of DiverseRNA-1.4M; print time, disk and memory."""
    from curation.axis import ALIAS_COLUMNS, GeneAxis
    from curation.corpus import assemble, compose, store_name
    from curation.schema_check import load_yaml
    from curation.verify import verify_corpus

    began = time.perf_counter()
    pools = {assay: write_pool(folder / f"pool_{assay}", shape) for assay, shape in SHAPES.items()}
    print(f"pools written in {time.perf_counter() - began:,.0f} s", flush=True)
    corpus, axis, reports = folder / "corpus", ids_of(FULL_AXIS), []
    genes = pl.DataFrame({"ensembl_id": axis, "symbol": "", "biotype": "", "chromosome": ""})
    GeneAxis(genes=genes, names=pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))).write(
        corpus / "genes.parquet"
    )
    catalog = Path(__file__).parents[1] / "curation" / "catalog" / "diverserna.yaml"
    studies = load_yaml(catalog)["studies"]
    total, nnz, began = 0, 0, time.perf_counter()
    for study, fields in studies.items():
        shape: Shape = SHAPES[fields["assay"]]
        n_rows = int(fields["expected"]["n_samples"] * share)
        start = time.perf_counter()
        for split, rows in (("train", n_rows), ("validation", 0)):
            pool = Pool(pools[fields["assay"]], shape, n_axis=FULL_AXIS)
            path = corpus / store_name(study, "r", split)
            write_store(path, study, split, rows, pool, axis, fields["assay"])
        seconds = time.perf_counter() - start
        total, nnz = total + n_rows, nnz + pool.nnz(n_rows)
        size = f"{n_rows:>9,} samples {pool.nnz(n_rows):>14,} non-zeros"
        print(f"{study:<24} {size} {seconds:>7,.0f} s {n_rows / seconds:>8,.0f}/s", flush=True)
        report = {"study": study, "recipe": "r", "sources": [], "batches": {"train": [""], "validation": []}}
        reports.append(folder / f"{study}.json")
        reports[-1].write_text(json.dumps(report | {"samples": {"dropped": {}}, "genes": {"dropped": {}}}))
    written = time.perf_counter() - began
    assemble(corpus, name="full", axis_source="simulated", reports=reports, studies={}, out=corpus / "corpus.json")
    compose(corpus, variant="all", members=dict.fromkeys(studies, "r"), held_out=[], reports=reports)
    status = Path("/proc/self/status").read_text()
    speed = f"{total / written:,.0f} samples/s, {nnz / written / 1e6:,.1f} M non-zeros/s"
    print(f"{total:,} samples, {nnz:,} non-zeros in {written:,.0f} s: {speed}")
    print(f"corpus.json and the variant: {time.perf_counter() - began - written:,.1f} s")
    disk = folder_bytes(corpus)
    print(
        f"disk {disk / 1e9:,.2f} GB, {disk / nnz:.2f} bytes a non-zero; {re.findall('VmHWM.*', status)[0]}", flush=True
    )
    start = time.perf_counter()
    problems = verify_corpus(corpus)
    seconds = time.perf_counter() - start
    print(
        f"verify: {len(problems)} problems, {seconds:,.0f} s, {total / seconds:,.0f} samples/s", *problems[:5], sep="\n"
    )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--annbatch-python", default="", help="a Python 3.12 with annbatch 0.3.1")
    parser.add_argument("--folder", type=Path, help="scratch; stays where it is given")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--share", type=float, default=1.0, help="of the samples of --full")
    parser.add_argument("--child", nargs=4, metavar=("PROGRAM", "POOL", "ROWS", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        program, pool, rows, out = args.child
        child(program, Path(pool), int(rows), Path(out))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        if args.full:
            full(folder, args.share)
        else:
            compare(folder, args.rows, args.repeats, args.annbatch_python)


if __name__ == "__main__":
    main()
