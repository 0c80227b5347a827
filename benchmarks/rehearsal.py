"""All nine studies, simulated in their sources' formats, curated and compared with their truth.

    python benchmarks/rehearsal.py [--scale 0.02] [--gene-share 1] [--folder FOLDER]

Needs the annotation tables of DIVERSERNA_DATA (by default ../shared/data). Simulates, then brings and curates each
study under each of its recipes in processes of their own, and prints samples, seconds and peak memory (resident
set). Linux only. Ends with exit code 1 if a store, a label, a gene or a reason differs from the truth.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from curation.axis import ALIAS_COLUMNS, GeneAxis, build_axis
from curation.catalog import Study, read_catalog
from curation.recipe import Recipe
from curation.simulate.compare import differences
from curation.simulate.rehearsal import STUDIES, recipes_of

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("DIVERSERNA_DATA", ROOT.parent / "shared" / "data"))
N_RETIRED = 900
# The process reads its own peak: what wait4 tells of a child begins with the memory of the process that started it
WITH_PEAK = """
import re, sys
from pathlib import Path
from curation.__main__ import main
code = main(sys.argv[2:])
Path(sys.argv[1]).write_text(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""


def real_axis() -> GeneAxis:
    """Return the axis of the shared annotation tables, with retired ids made up: the tables have no history."""
    tables = DATA / "annotation"
    if not tables.is_dir():
        raise SystemExit(f"{tables} is not here: set DIVERSERNA_DATA")
    axis, _ = build_axis(
        tables / "ensembl_human_genes.csv.gz", "gene_table_csv", hgnc=tables / "hgnc_complete_set.txt.gz"
    )
    rng = np.random.default_rng(0)
    rows = []
    for i in range(N_RETIRED):
        heirs = [axis.ensembl_ids[k] for k in rng.choice(len(axis.ensembl_ids), i % 3, replace=False)] or [""]
        rows += [(f"ENSG98{i:09d}", heir, "retired") for heir in heirs]
    retired = pl.DataFrame(rows, schema=list(ALIAS_COLUMNS), orient="row")
    return dataclasses.replace(axis, names=pl.concat([axis.names, retired]))


def measured(*arguments: str) -> tuple[float, float]:
    """Run `python -m curation`; return (seconds, peak memory in MB)."""
    started = time.perf_counter()
    with tempfile.NamedTemporaryFile() as peak:
        command = [sys.executable, "-c", WITH_PEAK, peak.name, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{arguments[0]} failed:\n{done.stderr[-3000:]}")
        return time.perf_counter() - started, int(Path(peak.name).read_text()) / 1024


def bring(study: Study, sources: Path) -> None:
    """Fetch and extract a study's files."""
    for file in sorted(study.files.values(), key=lambda file: file.archive is not None):
        entry, out = json.dumps(file.to_mapping()), sources / file.path
        if file.archive is None:
            measured("fetch", "--file", entry, "--out", str(out))
        else:
            measured("extract", "--file", entry, "--archive", str(sources / file.archive), "--out", str(out))


def curate(study: Study, recipe: str, fields: dict[str, object], folder: Path) -> tuple[float, float, list[str], int]:
    """Curate a study under a recipe; return (seconds, MB, what differs from the truth, samples)."""
    stem = f"{study.name}.{recipe}"
    out = folder / "stores"
    stores = [out / f"{stem}.{split}.zarr" for split in ("train", "validation")]
    others = [
        str(out / f"{other}.{recipes_of(other)[0]}.{split}.zarr")
        for other in Recipe.from_mapping(fields).drop_samples_of
        for split in ("train", "validation")
    ]
    seconds, memory = measured(
        *("curate", "--study", study.to_json(), "--recipe", json.dumps(fields), "--recipe-name", recipe),
        *("--split", '{"validation_share": 0.05, "seed": 0}', "--genes", str(folder / "genes.parquet")),
        *("--sources", str(folder / "sources" / study.name), "--report", str(out / f"{stem}.json")),
        *("--train", str(stores[0]), "--validation", str(stores[1]), "--other-stores", *others),
    )
    truth = folder / "truth" / f"{stem}.json"
    n_samples = json.loads(truth.read_text())["samples"]["read"]
    return seconds, memory, differences(truth, stores, out / f"{stem}.json"), n_samples


def main() -> None:
    """Simulate, curate, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.02)
    parser.add_argument("--gene-share", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="keep everything here; by default a temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        real_axis().write(folder / "genes.parquet")
        seconds, memory = measured(
            *("simulate", "--scale", str(args.scale), "--gene-share", str(args.gene_share)),
            *("--genes", str(folder / "genes.parquet"), "--out", str(folder)),
        )
        print(f"simulated in {seconds:.0f} s, peak {memory:.0f} MB\n")
        studies = read_catalog([folder / "catalog.yaml"]).studies
        recipes = yaml.safe_load((folder / "config.yaml").read_text())["recipes"]
        print(f"{'study':24}{'recipe':20}{'samples':>9}{'s':>8}{'MB':>7}  truth")
        wrong = total = 0
        for name in STUDIES:
            bring(studies[name], folder / "sources" / name)
            for recipe in recipes_of(name):
                seconds, memory, problems, n_samples = curate(studies[name], recipe, recipes[recipe], folder)
                verdict = "equal" if not problems else "; ".join(problems)
                print(f"{name:24}{recipe:20}{n_samples:9,}{seconds:8.1f}{memory:7.0f}  {verdict}", flush=True)
                wrong += bool(problems)
            total += n_samples
        print(f"\n{total:,} samples, {wrong} of the pairs differ from the truth")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
