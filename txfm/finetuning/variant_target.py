"""Fine-tuning on a variant of a corpus."""

from pathlib import Path
from typing import Any

from txfm.corpus import Corpus
from txfm.corpus.places import place_of
from txfm.corpus.variant import read_variant
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
        recipes = {store.study: store.recipe for store in self._manifest.of_split("train")}
        known = model.card["training_studies"]
        same_split = (
            model.card["corpus_digest"] is not None and model.card["corpus_digest"] == self._manifest.corpus_digest
        )
        for study, recipe in recipes.items():
            if options.validates and not (same_split and known.get(study, {}).get("recipe") == recipe):
                refuse_seen([study], model)
        if options.validates and not sum(store.n_samples for store in self._manifest.of_split("validation")):
            raise InputError(
                "This variant has no held-out batch to validate on",
                where=f"variant {variant} of {corpus}",
                todo="train on it without validation with --validation none",
            )

    @property
    def title(self) -> str:
        """The variant's name."""
        return self._samples.title

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
