"""Fine-tuned, as it was, and from scratch: the same held-out batches, budget and seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Lines = Sequence[Mapping[str, Any]]

SCORES: Mapping[str, str] = {
    "loss": "loss",
    "explained_deviance": "explained deviance",
    "explained_deviance_masked": "masked genes",
    "pearson_masked": "Pearson, masked",
    "cls_rank": "CLS rank",
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Validations of the two trainings, first to last; none without held-out batches.

    Attributes
    ----------
    finetuned : tuple of dict
        The first is of the pretrained weights.
    from_scratch : tuple of dict or None
        None if no training from scratch was wanted.
    """

    finetuned: tuple[Mapping[str, Any], ...]
    from_scratch: tuple[Mapping[str, Any], ...] | None

    @classmethod
    def of(cls, finetuned: Lines, from_scratch: Lines | None) -> "Comparison":
        """Of the lines of two metrics.jsonl."""
        return cls(
            finetuned=_validations(finetuned), from_scratch=None if from_scratch is None else _validations(from_scratch)
        )

    def as_mapping(self) -> dict[str, Any]:
        """For finetune.json: scores at the end, and the curves."""
        return {
            "scores": dict(self._rows()),
            "curves": {
                "finetuned": list(self.finetuned),
                "from_scratch": None if self.from_scratch is None else list(self.from_scratch),
            },
        }

    def other_scores(self) -> dict[str, Any]:
        """Those that are not the new model's own, for its page."""
        return {name: line for name, line in self._rows() if name != "finetuned"}

    def _rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if self.finetuned:
            yield "pretrained", self.finetuned[0]
            yield "finetuned", self.finetuned[-1]
        if self.from_scratch:
            yield "from_scratch", self.from_scratch[-1]

    def __str__(self) -> str:
        if not self.finetuned:
            return "no held-out batch: nothing to compare"
        lines = ["held-out batches".ljust(18) + "".join(f"{title:>20}" for title in SCORES.values())]
        for name, line in self._rows():
            values = [line.get(score) for score in SCORES]
            cells = "".join(f"{'not defined' if value is None else format(value, '.3f'):>20}" for value in values)
            lines.append(name.replace("_", " ").ljust(18) + cells)
        return "\n".join(lines)


def _validations(lines: Lines) -> tuple[Mapping[str, Any], ...]:
    return tuple(line for line in lines if line["kind"] == "validation")
