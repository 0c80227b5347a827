"""Fine-tuning on a variant of a corpus."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from txfm.corpus import Corpus
from txfm.corpus.places import place_of
from txfm.corpus.variant import Variant, read_variant
from txfm.errors import InputError
from txfm.finetuning.target import TargetOptions, refuse_seen
from txfm.pretrained import PretrainedModel
from txfm.training.samples import CorpusSamples


class VariantTarget:
    """A variant of a corpus on the model's gene axis; its validation stores are held out.

    Raises
    ------
    InputError
        The variant has no held-out batch, or the model may have been trained on some of it.
    """

    def __init__(
        self, model: PretrainedModel, corpus: Path, variant: str, options: TargetOptions, memory_bytes: int
    ) -> None:
        self._options = options
        self._samples = CorpusSamples(
            corpus=corpus, variant=variant, vocabulary=model.vocabulary, memory_bytes=memory_bytes
        )
        self._manifest = read_variant(place_of(corpus), variant)
        if options.validates:
            refuse_seen(set(self._manifest.studies) - _with_the_same_split(self._manifest, model.card), model)
        held_out = self._manifest.of_split("validation")
        if options.validates and not sum(store.n_samples for store in held_out):
            raise InputError(
                "This variant has no held-out batch to validate on",
                where=f"variant {variant} of {corpus}",
                expected="validation stores with samples",
                found="0 samples in " + (", ".join(store.name for store in held_out) or "no store"),
                todo="train on it without validation with --validation none",
            )

    @property
    def title(self) -> str:
        """The variant's name."""
        return self._samples.title

    @property
    def validates(self) -> bool:
        """See `Target`."""
        return self._options.validates

    def training(self, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Corpus:
        """See `Samples`."""
        return self._samples.training(batch_size=batch_size, seed=seed, rank=rank, world=world)

    def validation(self) -> Corpus | None:
        """See `Samples`."""
        return self._samples.validation() if self._options.validates else None

    def facts(self) -> dict[str, Any]:
        """See `Target`."""
        corpus = self.training(batch_size=1, seed=0)
        in_vocabulary = dict(zip(corpus.studies, corpus.measured.sum(axis=1).tolist(), strict=True))
        masks = self._manifest.measured
        return {
            "corpus": str(self._samples.corpus),
            "variant": self._samples.variant,
            "variant_digest": self._manifest.digest,
            "n_genes_of_model_measured": in_vocabulary,
            "n_genes_not_in_model": None
            if masks is None
            else {study: int(masks[study].sum()) - n for study, n in in_vocabulary.items()},
        }


def _with_the_same_split(target: Variant, card: Mapping[str, Any]) -> set[str]:
    """Studies of which the model has seen only what is training data of this variant: its held-out batches are new.

    It was trained on the same corpus, in which a study and recipe have one split. Of its parents the card names the
    studies alone, neither corpus nor recipe: what one of them has seen is never among these.
    """
    if card["corpus_digest"] is None or card["corpus_digest"] != target.corpus_digest:
        return set()
    seen_before = set((card["parent"] or {}).get("training_studies", ()))
    recipes = {study: entry.get("recipe") for study, entry in card["training_studies"].items()}
    return {store.study for store in target.stores if recipes.get(store.study) == store.recipe} - seen_before
