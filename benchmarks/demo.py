"""A newcomer's first minutes: install, first `make demo`, second `make demo`, in a fresh clone of HEAD.

    python benchmarks/demo.py [--keep FOLDER] [--cores 2]

Prints wall-clock seconds of each step. `--keep` leaves the clone with its report in FOLDER.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def timed(folder: Path, *command: str) -> tuple[float, str]:
    """Run a command in `folder`; return (seconds, its output)."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return seconds, done.stdout + done.stderr


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--cores", default="2")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        clone = args.keep or Path(scratch) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        install, _ = timed(clone, "make", ".venv/.installed")
        first, _ = timed(clone, "make", "demo", f"CORES={args.cores}")
        second, output = timed(clone, "make", "demo", f"CORES={args.cores}")
        nothing = "says that nothing is to be done" if "Nothing to be done" in output else "RAN SOMETHING AGAIN"
        print(f"install           {install:7.1f} s")
        print(f"first make demo   {first:7.1f} s")
        print(f"second make demo  {second:7.1f} s, {nothing}")


if __name__ == "__main__":
    main()
