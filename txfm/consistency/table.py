"""phenoprints.tsv and the record of how it was made, written whole or not at all."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from txfm.files import flush_to_disk, temporary_beside, write_json

COLUMNS = ("perturbation", "n_cells", "statistic", "p_value", "p_pooled", "p_per_perturbation")
SHARES_BELOW = (0.01, 0.05, 0.1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ConsistencyTable:
    """Rows of phenoprints.tsv, by perturbation; NaN becomes an empty field.

    Attributes
    ----------
    perturbations : tuple of str
    n_cells, statistic, p_value, p_pooled, p_per_perturbation : numpy.ndarray
        `p_value` is the reading of the null that was asked for, the two others are both readings.
    parameters : mapping
        How the table was made.
    """

    perturbations: tuple[str, ...]
    n_cells: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    p_pooled: np.ndarray
    p_per_perturbation: np.ndarray
    parameters: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """Numbers of perturbations, and of those with a p-value the shares below some thresholds."""
        known = self.p_value[~np.isnan(self.p_value)]
        return {
            "n_perturbations": len(self.perturbations),
            "n_without_p_value": len(self.perturbations) - len(known),
            "share_below": {str(p): float((known < p).mean()) if len(known) else 0.0 for p in SHARES_BELOW},
        }

    def write(self, out: Path) -> None:
        """Write `out` and, beside it, its name with .json."""
        columns = (self.n_cells, self.statistic, self.p_value, self.p_pooled, self.p_per_perturbation)
        lines = ["\t".join(COLUMNS)]
        for row, name in enumerate(self.perturbations):
            lines.append("\t".join([name, *(_text(column[row]) for column in columns)]))
        record = out.with_suffix(".json")
        temporary, temporary_record = temporary_beside(out), temporary_beside(record)
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        flush_to_disk(temporary)
        write_json(temporary_record, {**self.parameters, **self.summary()})
        temporary_record.rename(record)
        temporary.rename(out)


def _text(value: float) -> str:
    """The shortest text that reads back as the same number: a rounded p of 0.0999999 would no longer be below 0.1."""
    return "" if math.isnan(value) else repr(value.item() if isinstance(value, np.generic) else value)
