"""Fine-tuning on a file of raw counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from txfm.corpus import Corpus
from txfm.corpus.in_memory import InMemoryCorpus
from txfm.corpus.variant import StoreEntry
from txfm.embedding.gene_names import KnownGenes
from txfm.embedding.inputs.opening import open_samples
from txfm.embedding.inputs.samples import Samples
from txfm.embedding.run import ReadingOptions, in_vocabulary, match_input
from txfm.embedding.tally import Tally
from txfm.errors import InputError
from txfm.finetuning.file_studies import study_of_samples
from txfm.finetuning.first_few import first_few
from txfm.finetuning.held_out_batches import held_out_batches
from txfm.finetuning.target import TargetOptions, refuse_seen
from txfm.pretrained import PretrainedModel
from txfm.validation import BATCH_SAMPLES, SEED


class FileTarget:
    """A file of raw counts, in memory; whole batches of it are held out.

    Raises
    ------
    InputError
        The file cannot be read, its values are not raw counts, too few genes are known, no sample has a count on them,
        nothing names batches, or the model may have been trained on some of it.
    """

    def __init__(self, model: PretrainedModel, path: Path, options: TargetOptions) -> None:
        self._path, self._options = path, options
        vocabulary = model.vocabulary
        with open_samples(path, known=KnownGenes(vocabulary), counts=options.counts, genome=options.genome) as table:
            self.match = match_input(table, vocabulary, options.reading)
            self._tally = Tally(self.match)
            counts = _read(table, self._tally, options.reading)
            obs, self._notes = table.read_obs(), table.notes
        is_empty = np.asarray(counts.sum(axis=1)).ravel() == 0
        if is_empty.all():
            raise InputError(
                "No sample of this file has a count on the model's genes, so there is nothing to train on",
                where=str(path),
                expected="raw counts of genes that the model knows",
                found=f"{len(obs):,} samples, {int(self.match.measured.sum()):,} genes of the model, all counts 0",
                todo="check that --counts names the matrix with the raw counts (X, raw or layers/NAME)",
            )
        counts, obs = counts[~is_empty], obs[~is_empty]
        file_name = path.name.split(".")[0]
        study_of_sample = study_of_samples(obs, options.study, file_name)
        studies = sorted(set(study_of_sample))
        if options.validates:
            refuse_seen(studies, model)
            is_validation = held_out_batches(obs, options.batch_column, options.validation_share, SEED, study_of_sample)
            self._held_out = sorted(set(obs.loc[is_validation, options.batch_column].astype(str)))
        else:
            is_validation, self._held_out = np.zeros(len(obs), dtype=bool), []
        self._corpus = InMemoryCorpus(
            counts,
            obs.index.astype(str).to_numpy(dtype=object),
            is_validation,
            self.match.measured,
            vocabulary,
            name=studies[0] if len(studies) == 1 else file_name,
            study_of_sample=study_of_sample,
            about=[_about(study, path.name, obs[study_of_sample == study]) for study in studies],
        )
        self._n_validation = int(is_validation.sum())

    def __str__(self) -> str:
        """Which genes, counts and samples of the file are used, and why others are not."""
        lines = [*self._notes, str(self.match), str(self._tally)]
        n_empty, n_samples = self._tally.n_empty, self._tally.n_samples
        if n_empty:
            lines.append(f"left out: {n_empty:,} of {n_samples:,} samples, without a count on the model's genes")
        if self._options.validates:
            of_all = f"{self._n_validation:,} of {n_samples - n_empty:,} samples"
            batches = f"{self._options.batch_column} {first_few(self._held_out)}"
            lines.append(f"held out for validation: {of_all}, {batches}")
        return "\n".join(lines)

    @property
    def title(self) -> str:
        """The file's name."""
        return self._path.name

    @property
    def validates(self) -> bool:
        """See `Target`."""
        return self._options.validates

    def training(self, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Corpus:
        """See `Samples`."""
        return self._corpus.open("train", batch_size=batch_size, seed=seed, rank=rank, world=world)

    def validation(self) -> Corpus | None:
        """See `Samples`."""
        return self._corpus.open("validation", batch_size=BATCH_SAMPLES, seed=SEED) if self._options.validates else None

    def facts(self) -> dict[str, Any]:
        """See `Target`."""
        studies = self._corpus.variant.studies
        return {
            "file": self._path.name,
            "content_digest": self._corpus.variant.digest,
            "batch_column": self._options.batch_column if self._options.validates else None,
            "held_out_batches": self._held_out,
            "n_validation_samples": self._n_validation,
            "n_samples_without_counts": self._tally.n_empty,
            "share_of_counts": self._tally.matched_count_share,
            "n_genes_of_model_measured": dict.fromkeys(studies, int(self.match.measured.sum())),
            "n_genes_not_in_model": dict.fromkeys(studies, int((self.match.positions < 0).sum())),
        }


def _read(table: Samples, tally: Tally, reading: ReadingOptions) -> sp.csr_matrix:
    """Counts (n_samples, G) over the vocabulary, all rows; the tally takes every column."""
    match, blocks = tally.match, []
    for rows in table.counts(allow_fractional=reading.allow_fractional, chunk_rows=reading.chunk_rows):
        blocks.append(in_vocabulary(rows, match.positions, len(match.measured)))
        tally.update(rows, blocks[-1])
    return sp.vstack(blocks, format="csr")


def _about(study: str, file: str, obs: pd.DataFrame) -> StoreEntry:
    """What the labels of a study's samples say of it."""
    return StoreEntry(
        path=file,
        study=study,
        recipe="as given",
        split="",
        assay=_only(obs, "assay") or "not stated",
        simulated="simulated" in obs and bool(obs["simulated"].astype(bool).any()),
        n_samples=0,
        nnz=0,
        digest="",
    )


def _only(obs: pd.DataFrame, column: str) -> str | None:
    """The only value of a column that may not be there."""
    if column not in obs.columns:
        return None
    values = obs[column].astype(str).unique()
    return str(values[0]) if len(values) == 1 and values[0] else None
