"""Running readers one pass at a time, each in a process of its own, taking turns."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from corpus_reading import page_cache


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A reader as a command line.

    Attributes
    ----------
    title : str
    command : list of str
    files : list of Path
        What it reads: leaves the page cache before a cold pass.
    environment : dict
        Beside the one of this process.
    warm_only : bool
        A ceiling, which reads nothing while it is timed.
    """

    title: str
    command: list[str]
    files: list[Path] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    warm_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What a pass took.

    `memory` is the peak of the anonymous memory of the process and its children, in bytes; `others_cores` how many
    cores processes of others kept busy meanwhile.
    """

    rate: float
    imports_s: float
    first_batch_s: float
    pass_s: float
    cpu_s: float
    n_samples: int
    n_nonzeros: int
    device_bytes: int
    resident_share: float
    others_cores: float
    memory: int
    checksum: int


# A virtual machine's host takes memory back that is not in use; what a reader is the first to touch again then costs
# up to 2 ms a megabyte, whichever reader it is. So a process touches as much shortly before every pass.
TOUCHED_BYTES = 3 * 2**30
TOUCH = f"bytearray({TOUCHED_BYTES})[::4096] = bytes({TOUCHED_BYTES // 4096})"


def measure(runner: Runner, *, cold: bool, check: bool = False, limit_seconds: float = 1e9, niceness: int = 0) -> Pass:
    """Run a reader once."""
    for _ in range(5):  # another process may be reading the same files
        (page_cache.forget if cold else page_cache.warm)(runner.files)
        resident = page_cache.resident_share(runner.files)
        if abs((not cold) - resident) <= 0.01 or not runner.files:
            break
        time.sleep(1)
    subprocess.run([sys.executable, "-S", "-c", TOUCH], check=True)
    extra = []
    if not runner.warm_only:
        extra = ["--started", str(time.monotonic()), "--limit-seconds", str(limit_seconds), *["--check"] * check]
    children_before = children_seconds()
    process = subprocess.Popen(
        [*runner.command, *extra],
        env=os.environ | runner.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if niceness:
        # Linux shares the cores out among sessions first, so a process is only as nice as its session
        Path(f"/proc/{process.pid}/autogroup").write_text(str(niceness))
        os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
    memory, busy_before, started = 0, busy_seconds(), time.monotonic()
    while process.poll() is None:
        memory = max(memory, anonymous_bytes(process.pid))
        time.sleep(0.05)
    # the machine's busy CPU time less what has ended under this process: the work of others
    elapsed, busy = time.monotonic() - started, busy_seconds() - busy_before
    others = max(0.0, (busy - (children_seconds() - children_before)) / elapsed)
    assert process.stdout is not None
    assert process.stderr is not None
    if process.returncode:
        raise SystemExit(f"{runner.title} failed:\n{process.stderr.read()[-3_000:]}")
    found = json.loads(process.stdout.read().strip().splitlines()[-1])
    return Pass(
        rate=found["n_samples"] / found["pass_s"],
        memory=memory,
        others_cores=others,
        resident_share=resident,
        **{
            name: found.get(name, 0)
            for name in Pass.__dataclass_fields__
            if name not in ("rate", "memory", "others_cores", "resident_share")
        },
    )


def busy_seconds() -> float:
    """Return the CPU seconds that all processes of the machine have had."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def children_seconds() -> float:
    """Return the CPU seconds of ended children."""
    times = os.times()
    return times.children_user + times.children_system


def anonymous_bytes(pid: int) -> int:
    """Return the anonymous memory of a process and of its children; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) * 1_024 for line in status.splitlines() if line.startswith("RssAnon")), 0)
    return own + sum(anonymous_bytes(int(child)) for child in children)


@contextmanager
def locked(path: Path | None) -> Iterator[None]:
    """Hold the lock of a file, if there is one."""
    if path is None:
        yield
        return
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def take_turns(chosen: list[Runner], args: argparse.Namespace) -> dict[str, dict[str, list[Pass]]]:
    """Run every reader cold and warm in each round; return the passes by title and by `cold` or `warm`."""
    found: dict[str, dict[str, list[Pass]]] = {runner.title: {"cold": [], "warm": []} for runner in chosen}
    for number in range(args.rounds):
        with locked(args.lock):
            for runner in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
                for state in ("warm",) if runner.warm_only else ("cold", "warm"):
                    taken = measure(runner, cold=state == "cold", limit_seconds=args.limit_seconds, niceness=args.nice)
                    found[runner.title][state].append(taken)
                    if not runner.warm_only and abs((state == "warm") - taken.resident_share) > 0.01:
                        print(f"{runner.title}, {state}: {taken.resident_share:.0%} cached before it", file=sys.stderr)
        so_far = ", ".join(
            f"{title} "
            + " / ".join(f"{statistics.median(p.rate for p in passes):,.0f}" for passes in states.values() if passes)
            for title, states in found.items()
        )
        load = os.getloadavg()[0]
        print(
            f"round {number + 1} of {args.rounds}, load {load:.1f}; cold / warm: {so_far}", file=sys.stderr, flush=True
        )
    return found


def check_counts(chosen: list[Runner]) -> None:
    """Read everything once with each reader and compare samples, non-zeros and a weighted sum; stop if they differ."""
    sums = {}
    for runner in chosen:
        taken = measure(runner, cold=False, check=True)
        sums[runner.title] = (taken.n_samples, taken.n_nonzeros, taken.checksum)
    if len(set(sums.values())) > 1:
        raise SystemExit(f"the readers do not agree: {sums}")
    print(f"all agree: {sums}", file=sys.stderr, flush=True)
