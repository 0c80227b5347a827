"""A rank of a training is killed (kill -9) at random steps: how far is the curve from that of ranks that live?

A nano model is trained on six small simulated studies by one process, by two ranks, and by two ranks of which one is
killed at ten random steps; the same command starts them again each time. Prints every kill with the step at which
training went on, and the largest relative differences between the curves. Linux: ranks are found by /proc.

    python benchmarks/kill_and_resume.py [--kills 10] [--steps 300] [--seed 0]
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from corpus_reading.inputs import mixed, write_corpus

SCALE = 0.005
MODEL = {
    "preset": "nano",
    "width": 32,
    "max_genes": 300,
    "n_visible_genes": 63,
    "batch_size_samples": 32,
    "log_every_steps": 1,
}


def command(corpus: Path, folder: Path, steps: int, ranks: int) -> list[str]:
    """A training with a checkpoint every ten steps."""
    options = {
        "--corpus": corpus,
        "--variant": "all",
        "--model": json.dumps(MODEL | {"steps": steps}),
        "--out": folder / "model",
        "--checkpoints": folder / "saved",
        "--checkpoint-every-steps": 10,
        "--ranks": ranks,
        "--threads": ranks,
        "--device": "cpu",
        "--precision": "float32",
    }
    return [sys.executable, "-m", "txfm", "train", *(str(part) for option in options.items() for part in option)]


def kill_once(arguments: list[str], after_steps: int, rank: int) -> tuple[int, int] | None:
    """Start the ranks, kill one after some steps; return the first and the last step seen, None if it ended before."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    first = last = 0
    for line in process.stdout:
        step = re.match(r"step (\d+)/", line)
        if step is None:
            continue
        last = int(step.group(1))
        first = first or last
        if last == first + after_steps:
            os.kill(pid_of_rank(process.pid, rank), signal.SIGKILL)
            process.communicate()
            return first, last
    return None


def pid_of_rank(launcher: int, rank: int) -> int:
    """The process of a rank, by its environment."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    names = {int(child): Path(f"/proc/{child}/environ").read_bytes().split(b"\0") for child in children}
    return next(child for child, variables in names.items() if f"RANK={rank}".encode() in variables)


def losses(folder: Path) -> dict[int, float]:
    """Loss by step."""
    lines = [json.loads(line) for line in (folder / "model" / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}


def main() -> None:
    """Train twice, kill, compare."""
    parser = argparse.ArgumentParser(description="Kill a rank at random steps and compare the curve.")
    parser.add_argument("--kills", type=int, default=10, help="default 10")
    parser.add_argument("--steps", type=int, default=300, help="default 300")
    parser.add_argument("--seed", type=int, default=0, help="of the random steps and ranks (default 0)")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus = write_corpus(mixed(SCALE), folder, keep_source=False)
        for name, ranks in (("one", 1), ("two", 2)):
            subprocess.run(command(corpus, folder / name, args.steps, ranks), check=True, stdout=subprocess.DEVNULL)
        arguments = command(corpus, folder / "killed", args.steps, 2)
        for number in range(1, args.kills + 1):
            rank, after = draw.randrange(2), draw.randrange(1, args.steps // args.kills)
            seen = kill_once(arguments, after, rank)
            if seen is None:
                print("it ended before it was killed: choose more steps")
                return
            print(f"kill {number}: started at step {seen[0]}, rank {rank} killed after step {seen[1]}", flush=True)
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        one, two, killed = (losses(folder / name) for name in ("one", "two", "killed"))
    print(f"killed beside two ranks, {args.steps} steps: {difference(killed, two, args.steps):.1e}")
    for steps in (50, args.steps):
        print(f"two ranks beside one, {steps} steps: {difference(two, one, steps):.1e}")


def difference(found: dict[int, float], expected: dict[int, float], steps: int) -> float:
    """Largest relative difference of the loss in the first steps."""
    assert found.keys() == expected.keys()
    return max(abs(found[step] - expected[step]) / abs(expected[step]) for step in range(1, steps + 1))


if __name__ == "__main__":
    main()
