"""Thousands of small files from a Genomic Data Commons on loopback: files per second, memory, and what a kill costs.

    python benchmarks/gdc_files.py [--files 11000] [--kilobytes 20] [--rounds 3]

`python -m curation fetch` of a gdc: address, as the workflow calls it, against tests/curation/acquire/internet: TLS
through a proxy, the listing in pages, tar.gz archives of 100 files, four connections at least 0.1 s apart. Server and
client share the machine; the time includes starting Python, the listing, md5 of every file, fsync and the receipt. Each
round starts in an empty folder. Afterwards every file is read again and compared. Memory is the client's largest
resident size (VmHWM; ru_maxrss would count the parent of the fork).
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
ADDRESS = "gdc:cases.project.program.name=TCGA;data_type=Gene Expression Quantification;access=open"
DATA_URL = "https://api.gdc.cancer.gov/data*"
# The bar, which is for small files
FILES_PER_S, BAR_KILOBYTES = 300, 20
# The memory of so few files stands beside that of all
FEW_FILES = 1000


@dataclass(frozen=True, kw_only=True)
class Round:
    """One fetch into an empty folder."""

    files_per_s: float
    seconds: float
    memory_mb: float


def loopback() -> ModuleType:
    """Load the loopback internet of the tests."""
    path = ROOT / "tests/curation/acquire/internet/loopback.py"
    spec = importlib.util.spec_from_file_location("loopback", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["loopback"] = module
    spec.loader.exec_module(module)
    return module


def made_files(n_files: int, n_bytes: int) -> dict[str, bytes]:
    """file_id -> a table of counts, cut at random from a larger one so that it is made fast."""
    rng = random.Random(0)
    n_lines = max(50_000, n_bytes // 10)
    lines = [f"ENSG{rng.randrange(10**11):011d}.{rng.randrange(20)}\t{rng.randrange(10**5)}\n" for _ in range(n_lines)]
    pool = "".join(lines).encode()
    files = {}
    for _ in range(n_files):
        start, file_id = rng.randrange(len(pool) - n_bytes), str(uuid.UUID(int=rng.getrandbits(128), version=4))
        files[file_id] = (f"# {file_id}\n".encode() + pool[start : start + n_bytes])[:n_bytes]
    return files


def start_fetch(internet: Any, folder: Path) -> subprocess.Popen[bytes]:
    """Start the workflow's command."""
    entry = {"path": "star_counts.tsv", "addresses": [ADDRESS]}
    out = folder / "sources/tcga/star_counts.tsv"
    folder.joinpath("tmp").mkdir(parents=True, exist_ok=True)
    environment = os.environ | internet.env() | {"TMPDIR": str(folder / "tmp")}
    command = [sys.executable, "-m", "curation", "fetch", "--file", json.dumps(entry), "--out", str(out)]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def finish(process: subprocess.Popen[bytes], folder: Path) -> float:
    """Wait; return the largest memory in MB."""
    largest_kb = 0
    while process.poll() is None:
        largest_kb = max(largest_kb, high_water_kb(process.pid))
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"the fetch failed:\n{folder.joinpath('log').read_text()[-3000:]}")
    return largest_kb * 1024 / 1e6


def high_water_kb(pid: int) -> int:
    """Return the largest resident size so far, 0 once the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def lost_or_wrong(folder: Path, files: dict[str, bytes]) -> int:
    """Compare every file with what was served, and the receipt with the files."""
    root = folder / "sources/tcga"
    header, *rows = [line.split("\t") for line in (root / "star_counts.tsv").read_text().splitlines()]
    found = {row[0]: root / row[header.index("path")] for row in rows}
    wrong = set(files) ^ set(found)
    wrong |= {file_id for file_id in found if found[file_id].read_bytes() != files.get(file_id)}
    return len(wrong)


def measured(internet: Any, files: dict[str, bytes]) -> Round:
    """Fetch everything into an empty folder."""
    with tempfile.TemporaryDirectory(dir=ROOT / "benchmarks") as scratch:
        folder = Path(scratch)
        started = time.perf_counter()
        memory_mb = finish(start_fetch(internet, folder), folder)
        seconds = time.perf_counter() - started
        if wrong := lost_or_wrong(folder, files):
            raise SystemExit(f"{wrong} files are lost or wrong")
    return Round(files_per_s=len(files) / seconds, seconds=seconds, memory_mb=memory_mb)


def killed(internet: Any, files: dict[str, bytes]) -> tuple[int, int]:
    """Kill a fetch when about half is there and start it again.

    Returns
    -------
    tuple of int
        Files that were there at the kill, and files that were asked for afterwards.
    """
    with tempfile.TemporaryDirectory(dir=ROOT / "benchmarks") as scratch:
        folder = Path(scratch)
        data = folder / "sources/tcga/star_counts"
        process = start_fetch(internet, folder)
        while sum(1 for _ in data.glob("*")) < len(files) / 2:
            if process.poll() is not None:
                raise SystemExit(f"the fetch ended before half was there:\n{(folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1)  # the server notices
        there = sum(1 for _ in data.glob("*/*.tsv"))
        before = len(internet.requests(DATA_URL))
        finish(start_fetch(internet, folder), folder)
        later = internet.requests(DATA_URL)[before:]
        asked = sum(len(json.loads(entry["body"])["ids"]) if entry["method"] == "POST" else 1 for entry in later)
        if wrong := lost_or_wrong(folder, files):
            raise SystemExit(f"{wrong} files are lost or wrong after the kill")
    return there, asked


def publish(internet: Any, files: dict[str, bytes]) -> None:
    """Forget the last world and serve these files."""
    internet.reset()
    internet.gdc([{"file_id": file_id, "body": body} for file_id, body in files.items()])


def show(name: str, rounds: list[Round]) -> None:
    """Print one row."""
    rates = sorted(one.files_per_s for one in rounds)
    memory = sorted(one.memory_mb for one in rounds)
    seconds = statistics.median(one.seconds for one in rounds)
    print(
        f"{name:<14} {statistics.median(rates):7.0f} files/s  ({rates[0]:.0f} to {rates[-1]:.0f}), {seconds:6.1f} s, "
        f"memory {statistics.median(memory):5.1f} MB ({memory[0]:.1f} to {memory[-1]:.1f})",
        flush=True,
    )


def processor() -> str:
    """Return the name of the processor."""
    lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return lines[0].partition(": ")[2] if lines else platform.processor()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=11_000)
    parser.add_argument("--kilobytes", type=int, default=BAR_KILOBYTES)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    files = made_files(args.files, args.kilobytes * 1000)
    few = dict(list(files.items())[:FEW_FILES])
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()[:12]
    print(f"{os.cpu_count()} cores of {processor()}, Python {platform.python_version()}")
    print(f"{len(files):,} files of {args.kilobytes} kB (sha256 {digest}...), {args.rounds} rounds; median (range)")
    with tempfile.TemporaryDirectory() as scratch:
        internet = loopback().Internet(Path(scratch) / "internet")
        try:
            rounds: dict[int, list[Round]] = {len(few): [], len(files): []}
            for _ in range(args.rounds):
                for some in (few, files):
                    publish(internet, some)
                    rounds[len(some)].append(measured(internet, some))
            for n_files, measurements in rounds.items():
                show(f"{n_files:,} files", measurements)
            there, asked = killed(internet, files)
        finally:
            internet.close()
    print(f"kill -9 with {there:,} files there: {asked:,} asked for afterwards, {there + asked - len(files)} twice")
    if args.kilobytes <= BAR_KILOBYTES:
        rate = statistics.median(one.files_per_s for one in rounds[len(files)])
        print(f"bar: {FILES_PER_S} files/s: {'kept' if rate >= FILES_PER_S else 'MISSED'}")


if __name__ == "__main__":
    main()
