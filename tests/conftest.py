"""Fixtures of the tests that run the workflow, and those of the modules beside this one."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from curation.axis import ALIAS_COLUMNS, GeneAxis

ROOT = Path(__file__).parent.parent


def _module(name: str) -> ModuleType:
    """Load a module of this folder, which is on no path; tests import it by its name from then on."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_module("chromium")
_module("tool_environments")
_module("curation_command")
_module("document_tables")
s3_server, s3_bucket, own_s3_bucket = (
    getattr(_module("s3_server"), name) for name in ("s3_server", "s3_bucket", "own_s3_bucket")
)
small_corpus = _module("small_corpus").small_corpus
hub_server = _module("hub_server").hub_server

TARGETS = ("all", "sources", "corpora", "audit", "demo", "mini", "ablation")


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """`snakemake` of one checkout in one working folder, with the default profile.

    `--directory` keeps products out of the checkout. Each run is a process group of its own, so a test can kill it all.
    """

    folder: Path
    configs: tuple[Path, ...] = ()
    project: Path = ROOT
    name: str = "snakemake"
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """What the last run printed."""
        return self.folder.with_name(f"{self.name}.log")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a run in the background."""
        configs = ["--configfile", *map(str, self.configs)] if self.configs else []
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.project / "Snakefile")]
        command += ["--directory", str(self.folder), "--nocolor", *arguments, *configs]
        with self.log.open("w") as handle:
            process = subprocess.Popen(
                command, cwd=self.project, stdout=handle, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
        self.started.append(process)
        return process

    def run(self, *arguments: str, timeout_s: int = 900) -> tuple[int, str]:
        """Run to the end; return the exit code and everything that was printed."""
        code = self.start(*arguments).wait(timeout=timeout_s)
        return code, self.log.read_text()

    def plan(self, target: str, *more_configs: Path) -> dict[str, int]:
        """Rule -> number of jobs that a run would start now, with more configs merged over; targets left out."""
        code, output = replace(self, configs=(*self.configs, *more_configs)).run("-n", target)
        assert code == 0, output
        if "Nothing to be done" in output:
            return {}
        table = output[output.index("Job stats:") : output.index("Reasons:")]
        jobs = re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)
        return {rule: int(count) for rule, count in jobs if rule not in {*TARGETS, "total"}}

    def kill_all(self) -> None:
        """`kill -9` of the whole process group of every run that has not ended."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="session")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Workflow]]:
    """Make a `Workflow` in a new folder; whatever still runs at the end of the session is killed."""
    made: list[Workflow] = []

    def make(*configs: Path, project: Path = ROOT) -> Workflow:
        folder = tmp_path_factory.mktemp("work") / "folder"
        folder.mkdir()
        made.append(Workflow(folder=folder, configs=configs, project=project))
        return made[-1]

    yield make
    for each in made:
        each.kill_all()


@pytest.fixture(scope="session")
def rehearsal_axis() -> GeneAxis:
    """An axis of 4,000 genes whose names hold every trap: older, shared and retired names, dates, open reading frames.

    Gene n has the symbol GENEn and had PREVn before; every tenth has the alias ALIAn, and gene n and n + 1 of every
    fiftieth share one. ENSG98... are retired ids: of one gene, of two, and of none.
    """
    n = 4_000
    ids = [f"ENSG{i:011d}" for i in range(1, n + 1)]
    symbols = [f"GENE{i}X" for i in range(n)]
    symbols[:13] = [f"MT-G{i}" for i in range(13)]
    symbols[20:40] = [f"C{i}orf{i + 100}" for i in range(1, 21)]
    symbols[40:44] = ["MARCHF1", "MTARC1", "SEPTIN2", "MARCHF2"]
    names = [("MARCH1", ids[40], "previous"), ("MARC1", ids[41], "previous")]
    names += [("SEPT2", ids[42], "previous"), ("MARCH2", ids[43], "previous")]
    names += [(f"PREV{i}X", ids[i], "previous") for i in range(50, n)]
    names += [(f"ALIA{i}X", ids[i], "alias") for i in range(50, n, 10)]
    names += [(f"BOTH{i}X", ids[k], "alias") for i in range(50, n - 1, 50) for k in (i, i + 1)]
    names += [(symbol, gene, "approved") for symbol, gene in zip(symbols, ids, strict=True)]
    for i in range(100):
        heirs = (ids[100 + i : 101 + i], ids[100 + i : 102 + i], [""])[i % 3]
        names += [(f"ENSG98{i:09d}", heir, "retired") for heir in heirs]
    chromosomes = ["chrM"] * 13 + ["chrX"] * 300 + ["chr1"] * (n - 313)
    genes = pl.DataFrame({"ensembl_id": ids, "symbol": symbols, "biotype": "protein_coding", "chromosome": chromosomes})
    return GeneAxis(genes=genes, names=pl.DataFrame(names, schema=list(ALIAS_COLUMNS), orient="row"))
