"""metrics.jsonl and what a person sees of a run."""

import json
import os
import sys
from pathlib import Path
from typing import Any, Self


class MetricsFile:
    """Append-only json lines, cut back to the last checkpoint when a run resumes, so that no step occurs twice.

    Parameters
    ----------
    path : Path
    keep_bytes : int
        Length at the checkpoint; 0 for a new run.
    """

    def __init__(self, path: Path, keep_bytes: int) -> None:
        self.path = path
        with path.open("ab") as existing:
            existing.truncate(keep_bytes)
        self._file = path.open("a")

    def append(self, line: dict[str, Any]) -> None:
        """Write one line."""
        self._file.write(json.dumps(line) + "\n")

    def sync(self) -> int:
        """Flush to disk and return the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.path.stat().st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sync()
        self._file.close()


class ProgressLine:
    """A bar on a terminal, plain lines elsewhere."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.on_terminal = sys.stdout.isatty()

    def show(self, line: dict[str, Any]) -> None:
        """Show a line of the metrics."""
        if line["kind"] == "validation":
            scores = {"loss": "loss", "masked": "loss_masked", "explained deviance": "explained_deviance"}
            shown = {label: line[name] for label, name in scores.items()}
            text = "validation: " + ", ".join(
                f"{label} " + ("not defined" if value is None else f"{value:.3f}") for label, value in shown.items()
            )
            text += f", CLS rank {line['cls_rank']:.1f}, dead genes {line['dead_gene_share']:.1%}"
            print(("\r\033[K" if self.on_terminal else "") + f"step {line['step']}: {text}", flush=True)
            return
        text = f"step {line['step']}/{self.total_steps}, loss {line['loss']:.3f}, lr {line['lr']:.2e}, "
        text += f"{line['samples_per_s']:.0f} samples/s"
        if not self.on_terminal:
            print(text, flush=True)
            return
        filled = round(30 * line["step"] / self.total_steps)
        print(f"\r\033[K[{'#' * filled}{'.' * (30 - filled)}] {text}", end="", flush=True)
