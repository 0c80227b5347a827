"""Where a model's weights come from: what they were fitted on, with what software, from which other model."""

import importlib.metadata
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txfm.artifact.format import WEIGHTS

if TYPE_CHECKING:  # the reader starts a compiler when it is imported, which models can do without
    from txfm.corpus.variant import Variant

PACKAGES = ("numpy", "safetensors", "torch")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The training data of a model, as model.json states it.

    Attributes
    ----------
    variant, variant_digest : str
    corpus_digest : str or None
        None for a model that was trained before there was a corpus.json: one that finds phenoprints.
    studies : dict
        Training study to recipe, assay, n_samples, simulated, title and licence; the last two are None where the corpus
        does not state them.
    held_out : tuple of str
        Studies that no variant of the corpus may hold.
    """

    variant: str
    variant_digest: str
    corpus_digest: str | None
    studies: dict[str, dict[str, Any]]
    held_out: tuple[str, ...]

    @classmethod
    def of(cls, variant: "Variant") -> "Provenance":
        """The training samples of a variant."""
        return cls(
            variant=variant.name,
            variant_digest=variant.digest,
            corpus_digest=variant.corpus_digest,
            studies={
                store.study: {
                    "recipe": store.recipe,
                    "assay": store.assay,
                    "n_samples": store.n_samples,
                    "simulated": store.simulated,
                    "title": variant.about.get(store.study, {}).get("title"),
                    "licence": variant.about.get(store.study, {}).get("licence"),
                }
                for store in variant.of_split("train")
            },
            held_out=variant.held_out,
        )

    @property
    def n_samples(self) -> int:
        """Distinct training samples."""
        return sum(study["n_samples"] for study in self.studies.values())

    def as_mapping(self, parent: dict[str, Any] | None = None) -> dict[str, Any]:
        """Its fields of model.json; `parent` is `parent_of` the model that a fine-tuning started from."""
        simulated = any(study["simulated"] for study in self.studies.values())
        return {
            "variant": {"name": self.variant, "digest": self.variant_digest},
            "corpus_digest": self.corpus_digest,
            "training_studies": self.studies,
            "held_out": list(self.held_out),
            "simulated_data": simulated or bool(parent and parent["simulated_data"]),
            "parent": parent,
        }


def parent_of(name: str, card: Mapping[str, Any]) -> dict[str, Any]:
    """What model.json of a fine-tuned model says of the model that it was started from.

    Parameters
    ----------
    name : str
        Folder or repository of the parent.
    card : mapping
        The parent's model.json, as `PretrainedModel.card` has it.

    Returns
    -------
    dict
        name, variant, weights_sha256 (None for a parent of format 0.1), samples_seen, simulated_data, and
        training_studies: every study that these weights ever saw, those of the parent's own parent included.
    """
    return {
        "name": name,
        "weights_sha256": card["files"].get(WEIGHTS, {}).get("sha256"),
        "variant": card["variant"],
        "samples_seen": card["samples_seen"],
        "training_studies": sorted(studies_seen(card)),
        "simulated_data": card["simulated_data"],
    }


def studies_seen(card: Mapping[str, Any]) -> set[str]:
    """Every study that a model's weights ever saw: a fine-tuned model also knows what its parents were trained on."""
    return {*card["training_studies"], *(card["parent"] or {}).get("training_studies", ())}


def seen_among(studies: Iterable[str], card: Mapping[str, Any]) -> list[str]:
    """Which of these studies a model's weights ever saw; names are compared without case and punctuation."""
    seen = set(map(_plain, studies_seen(card)))
    return sorted(study for study in set(studies) if _plain(study) in seen)


def unknown_among(studies: Iterable[str], card: Mapping[str, Any]) -> list[str]:
    """Which of these studies a model neither saw nor lists as held out: whether it saw their samples is not known."""
    known = {_plain(study) for study in (*studies_seen(card), *(card["held_out"] or ()))}
    return sorted(study for study in set(studies) if _plain(study) not in known)


def _plain(study: str) -> str:
    return re.sub(r"[\W_]+", "_", study.casefold()).strip("_")


def software(**more: Any) -> dict[str, Any]:
    """Versions of what computed and wrote a model, and the commit of this checkout where there is one.

    Parameters
    ----------
    **more
        Further entries, such as the precision of the training.
    """
    ours = {"txfm": txfm_version(), "git_commit": git_commit(), "python": platform.python_version()}
    return ours | {name: importlib.metadata.version(name) for name in PACKAGES} | more


def txfm_version() -> str | None:
    """Version of the installed distribution; None where the package is only on the path."""
    try:
        return importlib.metadata.version("diverserna")
    except importlib.metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of the checkout that this package lies in, with ``-dirty`` after it if files of it were changed.

    Returns
    -------
    str or None
        None without git, or where the package is no part of a checkout: an environment may lie inside somebody's own.
    """
    here = ["git", "-C", str(Path(__file__).parent)]
    try:
        is_tracked = subprocess.run([*here, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False)
        if is_tracked.returncode != 0:
            return None
        describe = [*here, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        answer = subprocess.run(describe, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
