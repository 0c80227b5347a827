"""The samples that a model is fine-tuned on: a variant of a corpus, or a file of raw counts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from txfm.artifact.provenance import seen_among
from txfm.embedding.run import ReadingOptions
from txfm.errors import InputError
from txfm.pretrained import PretrainedModel
from txfm.training.samples import Samples


class Target(Samples, Protocol):
    """Samples over a model's vocabulary, and what is to be said of them."""

    @property
    def validates(self) -> bool:
        """Whether samples are held out, on which trainings can be compared."""

    def facts(self) -> dict[str, Any]:
        """For finetune.json."""


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """How the samples are chosen and read.

    Attributes
    ----------
    validates : bool
        Whether batches are held out.
    batch_column : str, optional
        Column of obs that names batches, of a file.
    validation_share : float
        Of the samples of a file.
    study : str, optional
        Of those samples of a file whose study no column `study` names; None = the file's name.
    counts : str
        Where a file has its raw counts: "X", "raw" or "layers/NAME".
    genome : str, optional
        Which one of a Cell Ranger file with several.
    reading : ReadingOptions
    """

    validates: bool = True
    batch_column: str | None = None
    validation_share: float = 0.1
    study: str | None = None
    counts: str = "X"
    genome: str | None = None
    reading: ReadingOptions = field(default_factory=ReadingOptions)

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise InputError(
                "--validation-share cannot be used",
                expected="between 0 and 1",
                found=str(self.validation_share),
                todo="--validation none holds nothing out",
            )


def refuse_seen(studies: Iterable[str], model: PretrainedModel) -> None:
    """Refuse to validate on studies that the model may have been trained on.

    Raises
    ------
    InputError
        The model, or one that it was fine-tuned from, saw samples of one of these studies.
    """
    seen = ", ".join(seen_among(studies, model.card))
    if not seen:
        return
    raise InputError(
        f"The model was trained on study {seen}: held-out batches of it may be among what it has seen",
        expected="studies that the model has not seen; or the corpus that it was trained on, with the same held-out "
        "batches",
        found=seen,
        todo="--validation none fine-tunes without an unfair comparison; another study of the same name needs a name "
        "of its own: in the file's column study, or with --study where there is no such column",
    )
