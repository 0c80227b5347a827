"""The genes that a model knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """Genes measured by at least one study of a variant, in the order of the gene axis.

    Attributes
    ----------
    axis_positions : numpy.ndarray (G,), int64
        Columns of the corpus' gene axis, ascending.
    ensembl_ids, symbols : tuple of str (G,)
        Unversioned Ensembl gene ids; symbols as on the gene axis.
    previous_symbols : tuple of tuples of str (G,), optional
        Symbols that each gene, and no other, had before; none where they are not known.
    """

    axis_positions: np.ndarray
    ensembl_ids: tuple[str, ...]
    symbols: tuple[str, ...]
    previous_symbols: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.previous_symbols:
            object.__setattr__(self, "previous_symbols", ((),) * len(self.ensembl_ids))

    def __len__(self) -> int:
        return len(self.ensembl_ids)

    def subset(self, positions: np.ndarray) -> "Vocabulary":
        """The genes at these positions, in the given order."""
        return Vocabulary(
            axis_positions=self.axis_positions[positions],
            ensembl_ids=tuple(self.ensembl_ids[index] for index in positions),
            symbols=tuple(self.symbols[index] for index in positions),
            previous_symbols=tuple(self.previous_symbols[index] for index in positions),
        )

    def as_mapping(self) -> dict[str, Any]:
        """For model.json."""
        return {
            "axis_positions": self.axis_positions.tolist(),
            "ensembl_ids": list(self.ensembl_ids),
            "symbols": list(self.symbols),
            "previous_symbols": list(map(list, self.previous_symbols)),
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Vocabulary":
        """Inverse of `as_mapping`."""
        return cls(
            axis_positions=np.asarray(mapping["axis_positions"], dtype=np.int64),
            ensembl_ids=tuple(mapping["ensembl_ids"]),
            symbols=tuple(mapping["symbols"]),
            previous_symbols=tuple(map(tuple, mapping.get("previous_symbols", ()))),
        )
