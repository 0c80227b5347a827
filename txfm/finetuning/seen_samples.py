"""Held-out samples that a model was trained on under another name, found by their counts.

The fingerprints of a corpus (docs/corpus-format.md) are of all genes that curation mapped, under names that only it
knows: of a file of symbols it would miss every sample. So counts are compared, on the genes that both sides measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from txfm.corpus import Corpus, open_corpus
from txfm.corpus.places import place_of
from txfm.corpus.variant import Variant, read_variant
from txfm.errors import InputError
from txfm.evaluation.shared_samples import MIN_COUNTS, MIN_GENES, refuse_other_variant
from txfm.finetuning.target import Target
from txfm.pretrained import PretrainedModel

# One gene that two tables name differently changes one part of a sample; the others still agree. Of a sample with too
# few counts for parts all genes are compared.
N_PARTS = 8
BATCH_SAMPLES = 1024


@dataclass(frozen=True, kw_only=True)
class SeenComparison:
    """With the training samples of which variants the held-out samples were compared; none of them was found.

    Attributes
    ----------
    compared_with, not_compared_with : tuple of str
    """

    compared_with: tuple[str, ...]
    not_compared_with: tuple[str, ...]

    def as_mapping(self) -> dict[str, Any]:
        """For finetune.json and model.json."""
        return {"compared_with": list(self.compared_with), "not_compared_with": list(self.not_compared_with)}

    def __str__(self) -> str:
        lines = []
        if self.compared_with:
            lines.append(
                f"held-out samples: none is a training sample of {', '.join(self.compared_with)}, compared by counts"
            )
        if self.not_compared_with:
            lines.append(
                "warning: held-out samples were NOT compared with the model's training samples of "
                f"{', '.join(self.not_compared_with)}: the names of studies alone say that they are new"
                + ("" if self.compared_with else "; --corpus names the corpus that the model was trained on")
            )
        return "\n".join(lines)


def compare_with_seen(target: Target, model: PretrainedModel, name: str, corpus: str | Path | None) -> SeenComparison:
    """Refuse held-out samples that are training samples of the model, or of the one that it was fine-tuned from.

    Parameters
    ----------
    target : Target
        With held-out samples.
    model : PretrainedModel
    name : str
        Of the model, for messages.
    corpus : path or str, optional
        That the model, or its parent, was trained on; None: nothing is compared.

    Returns
    -------
    SeenComparison

    Raises
    ------
    InputError
        Held-out samples are among the training samples; or the corpus is not what the model was trained on.
    """
    stated = [card["variant"] for card in (model.card, model.card["parent"]) if card]
    known = [] if corpus is None else _variants_in(corpus, stated, name)
    held_out = target.validation()
    if corpus is not None and held_out is not None:
        for variant in known:
            training = open_corpus(
                corpus,
                variant.name,
                "train",
                batch_size=BATCH_SAMPLES,
                shuffle=False,
                vocabulary=model.vocabulary,
                memory_bytes=0,  # one pass
            )
            _refuse_shared(held_out, training, target.title, variant.name)
    digests = {variant.digest for variant in known}
    return SeenComparison(
        compared_with=tuple(f"variant {variant.name}" for variant in known),
        not_compared_with=(
            *(f"variant {each['name']}" for each in stated if each["digest"] not in digests),
            *_earlier(model.card, known),
        ),
    )


def _variants_in(corpus: str | Path, stated: list[Mapping[str, Any]], name: str) -> list[Variant]:
    """Those variants of a corpus that a model and its parent state; at least one."""
    found, refusals = [], []
    for each in stated:
        try:
            variant = read_variant(place_of(corpus), each["name"])
            refuse_other_variant(name, {"variant": each}, variant)
        except InputError as refusal:
            refusals.append(refusal)
        else:
            found.append(variant)
    if not found:
        raise refusals[-1]  # of the oldest: what a file was called is no variant of any corpus
    return found


def _earlier(card: Mapping[str, Any], known: list[Variant]) -> Iterator[str]:
    """Studies that the parent has from its own parents: their variants are not recorded."""
    parent = card["parent"]
    if parent is None:
        return
    variant = next((variant for variant in known if variant.digest == parent["variant"]["digest"]), None)
    if variant is not None and (others := set(parent["training_studies"]) - set(variant.studies)):
        yield f"study {', '.join(sorted(others))}"


def _refuse_shared(held_out: Corpus, training: Corpus, title: str, variant: str) -> None:
    is_seen, by_study = seen_samples(held_out, training)
    if not is_seen.any():
        return
    raise InputError(
        "Held-out samples are among those that the model was trained on: a validation on them says nothing about "
        "unseen data",
        where=title,
        expected=f"no training sample of variant {variant}",
        found=f"{int(is_seen.sum()):,} of {len(is_seen):,} held-out samples; "
        + ", ".join(f"{n:,} are of study {study}" for study, n in by_study.items()),
        todo="leave these samples out, or fine-tune without an unfair comparison: --validation none",
    )


def seen_samples(held_out: Corpus, training: Corpus) -> tuple[np.ndarray, dict[str, int]]:
    """Which held-out samples are training samples: those with the same counts on the genes that both sides measured.

    A sample is the same if one of `N_PARTS` parts of these genes, or all of them together, has the same counts, at
    least `MIN_COUNTS` of them on `MIN_GENES` genes.

    Parameters
    ----------
    held_out, training : Corpus
        Over one vocabulary; both are read once.

    Returns
    -------
    numpy.ndarray (n_held_out,), bool
        In the order of its batches.
    dict of str to int
        Number of them by study of the training samples.
    """
    batches = list(held_out)
    own = sp.vstack([batch.csr() for batch in batches], format="csr")
    study_of_own = np.concatenate([batch.study_index for batch in batches])
    parts = _Parts(own.shape[1])
    seen_of_study = np.zeros((len(training.studies), own.shape[0]), dtype=bool)
    signatures: dict[tuple[int, int], np.ma.MaskedArray] = {}
    for batch in training:
        matrix = batch.csr()
        for study in np.unique(batch.study_index):
            rows = matrix[batch.study_index == study]
            for other in np.unique(study_of_own):
                chosen = study_of_own == other
                genes = training.measured[study] & held_out.measured[other]
                if (study, other) not in signatures:
                    signatures[study, other] = parts.evident(own[chosen], genes)
                seen_of_study[study, chosen] |= _have_a_part_of(signatures[study, other], parts.of(rows, genes))
    numbers = dict(zip(training.studies, seen_of_study.sum(axis=1).tolist(), strict=True))
    is_seen: np.ndarray = seen_of_study.max(axis=0)
    return is_seen, {study: n for study, n in numbers.items() if n}


class _Parts:
    """Random numbers that turn the counts of a sample into one number for each part of the genes, and for all."""

    def __init__(self, n_genes: int) -> None:
        rng = np.random.default_rng(0)
        self._is_member = np.ones((n_genes, N_PARTS + 1), dtype=np.int64)
        self._is_member[:, :N_PARTS] = rng.integers(N_PARTS, size=n_genes)[:, None] == np.arange(N_PARTS)
        random = rng.integers(2**64, size=n_genes, dtype=np.uint64, endpoint=False)
        self._weights = self._is_member.astype(np.uint64) * random[:, None]

    def of(self, counts: sp.csr_matrix, genes: np.ndarray) -> np.ndarray:
        """Sums of count times number (n_samples, N_PARTS + 1), uint64, modulo 2^64, on the genes of a mask (G,)."""
        found: np.ndarray = counts.astype(np.uint64) @ (self._weights * genes[:, None].astype(np.uint64))
        return found

    def evident(self, counts: sp.csr_matrix, genes: np.ndarray) -> np.ma.MaskedArray:
        """The same, without those of parts that hold so little that another sample may have it by chance."""
        members = self._is_member * genes[:, None]
        n_counts, n_genes = counts.astype(np.int64) @ members, (counts > 0).astype(np.int64) @ members
        return np.ma.masked_array(self.of(counts, genes), (n_counts < MIN_COUNTS) | (n_genes < MIN_GENES))


def _have_a_part_of(own: np.ma.MaskedArray, others: np.ndarray) -> np.ndarray:
    """Which rows of `own` have, in some column, a value that a row of `others` has in that column."""
    equal = [np.isin(own.data[:, part], others[:, part]) for part in range(others.shape[1])]
    found: np.ndarray = np.max(np.stack(equal, axis=1) & ~np.ma.getmaskarray(own), axis=1)
    return found
