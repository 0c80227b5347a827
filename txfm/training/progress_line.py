"""What a person sees of a run: a bar on a terminal, plain lines elsewhere."""

import sys
from typing import Any, Self

from txfm.progress_bar import ProgressBar, duration
from txfm.training.throughput import Speed


class ProgressLine:
    """Prints the lines of the metrics; entered while a run lasts."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self._bar = ProgressBar(sys.stdout, total_steps)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)

    def show_validation(self, line: dict[str, Any]) -> None:
        """Show a validation; on a terminal it takes the place of the bar, which comes back below it."""
        scores = {"loss": "loss", "masked": "loss_masked", "explained deviance": "explained_deviance"}
        shown = {label: line[name] for label, name in scores.items()}
        text = "validation: " + ", ".join(
            f"{label} " + ("not defined" if value is None else f"{value:.3f}") for label, value in shown.items()
        )
        text += f", CLS rank {line['cls_rank']:.1f}, dead genes {line['dead_gene_share']:.1%}"
        print(f"step {line['step']}: {text}", flush=True)

    def show_training(self, line: dict[str, Any], speed: Speed) -> None:
        """Show where training stands, and how fast it is."""
        text = f"step {line['step']}/{self.total_steps}, loss {line['loss']:.3f}, lr {line['lr']:.2e}, "
        text += f"{speed.samples_per_s:.0f} samples/s, {_short(speed.tokens_per_s)} tokens/s, "
        text += "MFU unknown" if speed.mfu is None else f"MFU {speed.mfu:.1%}"
        text += f", {duration(speed.seconds_left)} left"
        if self._bar.on_terminal:
            self._bar.draw(line["step"], text)
        else:
            print(text, flush=True)


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"
