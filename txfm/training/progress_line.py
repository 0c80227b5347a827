"""What a person sees of a run: a bar on a terminal, plain lines elsewhere."""

import sys
from typing import Any

from txfm.training.throughput import Speed


class ProgressLine:
    """Prints the lines of the metrics."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.on_terminal = sys.stdout.isatty()

    def show_validation(self, line: dict[str, Any]) -> None:
        """Show a validation; on a terminal it takes the place of the bar, which comes back below it."""
        scores = {"loss": "loss", "masked": "loss_masked", "explained deviance": "explained_deviance"}
        shown = {label: line[name] for label, name in scores.items()}
        text = "validation: " + ", ".join(
            f"{label} " + ("not defined" if value is None else f"{value:.3f}") for label, value in shown.items()
        )
        text += f", CLS rank {line['cls_rank']:.1f}, dead genes {line['dead_gene_share']:.1%}"
        print(("\r\033[K" if self.on_terminal else "") + f"step {line['step']}: {text}", flush=True)

    def show_training(self, line: dict[str, Any], speed: Speed) -> None:
        """Show where training stands, and how fast it is."""
        text = f"step {line['step']}/{self.total_steps}, loss {line['loss']:.3f}, lr {line['lr']:.2e}, "
        text += f"{speed.samples_per_s:.0f} samples/s, {_short(speed.tokens_per_s)} tokens/s, "
        text += "MFU unknown" if speed.mfu is None else f"MFU {speed.mfu:.1%}"
        text += f", {_duration(speed.seconds_left)} left"
        if not self.on_terminal:
            print(text, flush=True)
            return
        filled = round(20 * line["step"] / self.total_steps)
        print(f"\r\033[K[{'#' * filled}{'.' * (20 - filled)}] {text}", end="", flush=True)


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02}:{rest:02}"
