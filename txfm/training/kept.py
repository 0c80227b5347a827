"""Models that stay from the middle of a training, one every N steps: what a network knew by then (Figure 2)."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txfm.artifact import is_finished, read_artifact
from txfm.errors import InputError
from txfm.files import flush_to_disk
from txfm.hardware import Hardware
from txfm.model import TxFM
from txfm.pretrained import TrainingRecord, save_model

if TYPE_CHECKING:
    from txfm.corpus import Corpus


@dataclass(frozen=True, kw_only=True)
class KeptModels:
    """The folder with the models ``model-<step>/``; only rank 0 reads and writes it.

    Attributes
    ----------
    folder : Path
        Created with the first model.
    every_steps : int
    """

    folder: Path
    every_steps: int

    def is_due(self, step: int) -> bool:
        """Whether a model is kept after this many steps."""
        return step % self.every_steps == 0

    def cut_back(self, step: int, identity: Mapping[str, Any]) -> None:
        """Remove models of later steps, which a training that goes on from `step` writes anew, and halves of models.

        Parameters
        ----------
        step : int
            0 for a new training.
        identity : mapping
            What the training's checkpoints say of it.

        Raises
        ------
        InputError
            The folder holds a model of another training, or a damaged one; nothing was changed.
        """
        expected = {"seed": identity["seed"], "variant_digest": identity["variant_digest"], **identity["config"]}
        later = []
        for path in self._models():
            card = read_artifact(path, verify=False).card
            found = {"seed": card["seed"], "variant_digest": card["variant"]["digest"], **card["config"]}
            differing = [name for name, value in expected.items() if found.get(name) != value]
            if differing:
                raise InputError(
                    "The folder for kept models has one of another training",
                    where=str(path),
                    expected=", ".join(f"{name}={expected[name]}" for name in differing),
                    found=", ".join(f"{name}={found.get(name)}" for name in differing),
                    todo=f"move or delete {self.folder}, or choose another --out",
                )
            if card["steps"] > step:
                later.append(path)
        halves = [path for path in self.folder.glob("model-*") if not is_finished(path)]
        for path in (*later, *halves, *self.folder.glob(".model-*.tmp")):
            shutil.rmtree(path)

    def save(
        self,
        network: TxFM,
        corpus: "Corpus",
        hardware: Hardware,
        *,
        seed: int,
        step: int,
        samples_seen: int,
    ) -> None:
        """Write ``model-<step>/``, which counts as a model once it is complete; its metrics are in the run's."""
        record = TrainingRecord.of(corpus, network.config, seed, samples_seen, step, None, None)
        save_model(self.folder / f"model-{step:09d}", network, record, None, hardware)
        flush_to_disk(self.folder)

    def _models(self) -> Iterator[Path]:
        return (path for path in sorted(self.folder.glob("model-*")) if is_finished(path))
