"""Where the lines of a run go: metrics.jsonl, the terminal, and TensorBoard if wanted."""

from pathlib import Path
from typing import Any, Self

from txfm.training.event_file import EventFile
from txfm.training.metrics import MetricsFile
from txfm.training.progress_line import ProgressLine
from txfm.training.throughput import Speed

# On the axis or by itself no curve
NO_CURVE = {"kind", "step", "n_samples", "n_samples_masked"}


class RunLog:
    """Of rank 0; the other ranks have none.

    Parameters
    ----------
    metrics : MetricsFile
    total_steps : int
    tensorboard : Path, optional
        Folder for event files.
    first_step : int
        Steps that a resumed run has behind it.
    """

    def __init__(self, metrics: MetricsFile, total_steps: int, tensorboard: Path | None, first_step: int) -> None:
        self.metrics = metrics
        self._progress = ProgressLine(total_steps)
        self._events = None if tensorboard is None else EventFile(tensorboard, first_step + 1 if first_step else 0)

    def training(self, line: dict[str, Any], speed: Speed) -> None:
        """Write a line of training."""
        self.metrics.append(line)
        self._progress.show_training(line, speed)
        self._add_curves(line)

    def validation(self, line: dict[str, Any]) -> None:
        """Write a validation."""
        self.metrics.append(line)
        self._progress.show_validation(line)
        self._add_curves(line)

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.__exit__(*error)
        if self._events is not None:
            self._events.close()

    def _add_curves(self, line: dict[str, Any]) -> None:
        if self._events is None:
            return
        curves: dict[str, float] = {}
        for name, value in line.items():
            if isinstance(value, dict):
                curves |= {f"{line['kind']}_{name}/{key}": each for key, each in value.items() if each is not None}
            elif name not in NO_CURVE and isinstance(value, int | float):
                curves[f"{line['kind']}/{name}"] = value
        self._events.add(line["step"], curves)
