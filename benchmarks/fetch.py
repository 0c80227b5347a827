"""Downloads over loopback: speed beside curl, memory, and what twenty kills cost.

    python benchmarks/fetch.py [--megabytes 400] [--rounds 5] [--kills 20]

Speed: `curl -o` and `python -m curation fetch --url ... --sha256 ...` take turns on the same file, server and disk.
Ours hashes, fsyncs and starts a Python, which its time includes. `2 mirrors` and `5 mirrors` mean that all but the last
address fail. The order is drawn anew each round. Kills: a download of 200 MB at 40 MB/s is killed with SIGKILL at
random moments and started again.
"""

import argparse
import hashlib
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
KILLED_BYTES, KILLED_RATE = 200_000_000, 40_000_000


@contextmanager
def serving(path: Path, rate: int | None = None) -> Iterator[str]:
    """Serve a file until the block ends; give the server's root."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks/loopback/range_server.py"),
        str(path),
        *([str(rate)] if rate else []),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.kill()


def write_random(path: Path, n_bytes: int) -> str:
    """Write bytes that do not compress; return their sha256."""
    total = hashlib.sha256()
    with path.open("wb") as handle:
        for start in range(0, n_bytes, 2**20):
            piece = os.urandom(min(2**20, n_bytes - start))
            total.update(piece)
            handle.write(piece)
    return total.hexdigest()


def fetch_command(urls: list[str], sha256: str, out: Path, sums: str = "--sha256") -> list[str]:
    """The command line of a fetch by hand."""
    named = [part for url in urls for part in ("--url", url)]
    return [sys.executable, "-m", "curation", "fetch", *named, sums, sha256, "--out", str(out)]


def timed(command: list[str], out: Path) -> tuple[float, float]:
    """Run a command that writes `out`; return seconds and the largest memory in MB."""
    for path in out.parent.glob(f"{out.name}*"):
        path.unlink()
    os.sync()  # what the run before left to write is not this one's time
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return seconds, usage.ru_maxrss / 1e3


def show(name: str, seconds: list[float], n_bytes: int, memory: list[float], curl: float) -> None:
    """Print one row."""
    rates = sorted(n_bytes / 1e6 / value for value in seconds)
    middle = statistics.median(rates)
    print(
        f"{name:28} {middle:7.0f} MB/s ({rates[0]:.0f} to {rates[-1]:.0f})"
        f" {middle / curl:6.0%} of curl, {max(memory):5.0f} MB memory"
    )


def measure_speed(folder: Path, n_bytes: int, rounds: int) -> None:
    """curl and ours in turns."""
    served = folder / "served.bin"
    sha256 = write_random(served, n_bytes)
    md5 = hashlib.file_digest(served.open("rb"), "md5").hexdigest()
    out = folder / "fetched.bin"
    with serving(served) as root:
        good = f"{root}/file"
        gone = [f"{root}/gone{i}" for i in range(4)]
        rows = {
            "curl": ["curl", "--silent", "--output", str(out), good],
            "fetch, sha256": fetch_command([good], sha256, out),
            "fetch, md5 and sha256": fetch_command([good], md5, out, "--md5"),
            "fetch, sha256, 2 mirrors": fetch_command([*gone[:1], good], sha256, out),
            "fetch, sha256, 5 mirrors": fetch_command([*gone, good], sha256, out),
        }
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
        for _ in range(rounds):
            for name, command in random.sample(list(rows.items()), len(rows)):
                results[name].append(timed(command, out))
    curl = statistics.median(n_bytes / 1e6 / seconds for seconds, _ in results["curl"])
    for name, found in results.items():
        show(name, [seconds for seconds, _ in found], n_bytes, [memory for _, memory in found], curl)


def measure_kills(folder: Path, kills: int) -> None:
    """Kill a download again and again; say what it cost and whether the bytes are right."""
    served = folder / "killed-served.bin"
    sha256 = write_random(served, KILLED_BYTES)
    out = folder / "killed.bin"
    part = out.with_name("killed.bin.part")
    moments = sorted(random.sample(range(KILLED_BYTES), kills))
    with serving(served, KILLED_RATE) as root:
        command = fetch_command([f"{root}/file"], sha256, out)
        for moment in moments:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and (not part.exists() or part.stat().st_size < moment):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sent = int(urllib.request.urlopen(f"{root}/sent").read())
    with out.open("rb") as handle:
        right = hashlib.file_digest(handle, "sha256").hexdigest() == sha256
    print(
        f"{kills} kills in {KILLED_BYTES / 1e6:.0f} MB: sha256 {'right' if right else 'WRONG'},"
        f" {sent / KILLED_BYTES:.4f} times its size transferred"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as scratch:
        measure_speed(Path(scratch), args.megabytes * 10**6, args.rounds)
        measure_kills(Path(scratch), args.kills)


if __name__ == "__main__":
    main()
