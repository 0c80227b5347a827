"""Opening a variant: which stores, which genes, which shares."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from txfm.corpus.chunk_cache import DEFAULT_CACHE_BYTES, ChunkCache
from txfm.corpus.gene_map import GeneMap
from txfm.corpus.places import Place, place_of
from txfm.corpus.previous_symbols import previous_symbols
from txfm.corpus.store import StoreReader
from txfm.corpus.stream import Corpus, StreamOptions
from txfm.corpus.variant import SPLITS, Variant, read_variant
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary

DEFAULT_MEMORY_BYTES = 2**30
MOST_THREADS = 4
# A range of a bucket takes some 50 ms to come, whatever the processor does meanwhile
REMOTE_THREADS = 16


def open_corpus(
    corpus: str | Path,
    variant: str,
    split: str,
    *,
    batch_size: int = 256,
    seed: int = 0,
    max_genes: int | None = None,
    shuffle: bool = True,
    vocabulary: Vocabulary | None = None,
    shares: Mapping[str, float] | None = None,
    samples_per_epoch: int | None = None,
    rank: int = 0,
    world: int = 1,
    drop_last: bool = False,
    threads: int | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    cache: str | Path | None = None,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    plain: bool = False,
) -> Corpus:
    """Open one split of a variant as a stream of batches.

    Parameters
    ----------
    corpus : path or str
        Corpus folder (variants/, stores/), or its address: ``s3://``, ``gs://``, ``http(s)://``, ``file://``.
    variant : str
        The variant's name.
    split : {"train", "validation"}
        Only stores of this split are ever read for their samples.
    batch_size : int
        Samples per batch of this rank.
    seed : int
        Of the shuffling.
    max_genes : int, optional
        Cap on the vocabulary: the genes most often detected in single-cell samples of the variant (twenty bulk samples
        detect nearly every gene and would decide alone). Ties go to the earlier gene of the axis.
    shuffle : bool
        False: store by store, rows in order.
    vocabulary : Vocabulary, optional
        A trained model's, instead of the variant's own.
    shares : mapping of str to float, optional
        Share of the samples that come from each study, or from each assay ("sc", "bulk"; within it in proportion to the
        studies' sizes); all studies or all assays of the split must be named, and 0 leaves one out. Samples are then
        drawn: an epoch does not hold every sample once, but within a study none comes twice before all have come.
        None: every sample exactly once an epoch.
    samples_per_epoch : int, optional
        With `shares`: samples drawn an epoch by all ranks; None = as many as the split has.
    rank, world : int
        Of distributed training: this process gets every `world`-th sample of each step's batch of
        ``batch_size * world``. All ranks have the same number of batches.
    drop_last : bool
        Leave out the last, short batch of an epoch.
    threads : int, optional
        That decode and gather; None = the processors that this process may use, at most 4, or 16 for a remote corpus.
    memory_bytes : int
        A split that takes no more than this is kept decoded in memory when it is read a second time, which saves the
        work from the third epoch on; of a larger one nothing is kept. Blocks in work take up to 0.5 GB besides.
    cache : path, optional
        Folder for chunks of a remote corpus; they are proven by their checksums at every use.
    cache_bytes : int
        Limit of that folder.
    plain : bool
        Read through Zarr's library only: slower; for comparison.

    Returns
    -------
    Corpus

    Raises
    ------
    InputError
        See `read_variant` and `StoreReader`; also an unknown split, a batch size below 1, shares that do not fit, or a
        variant without training samples.
    """
    if split not in SPLITS:
        raise InputError("There is no such split", expected=" or ".join(SPLITS), found=split)
    if batch_size < 1:
        raise InputError("The batch size cannot be used", expected="1 sample or more", found=str(batch_size))
    if not 0 <= rank < world:
        raise InputError("There is no such rank", expected="0 <= rank < world", found=f"rank {rank}, world {world}")
    for name, number, least in (("seed", seed, 0), ("max_genes", max_genes, 1)):
        if number is not None and number < least:
            raise InputError(f"This {name} cannot be used", expected=f"{least} or more", found=str(number))
    if samples_per_epoch is not None and (shares is None or samples_per_epoch < 1):
        raise InputError(
            "samples_per_epoch cannot be used",
            expected="1 or more, and shares that say how samples are drawn",
            found=f"{samples_per_epoch}, {'no shares' if shares is None else 'shares'}",
            todo="without shares an epoch is every sample once",
        )
    place = place_of(corpus)
    manifest = read_variant(place, variant)
    chunks = ChunkCache(Path(cache), cache_bytes) if cache is not None and place.remote else None
    gene_readers = [StoreReader(place, entry, cache=chunks, plain=plain) for entry in manifest.of_split("train")]
    if not any(reader.entry.n_samples for reader in gene_readers):
        raise InputError(
            "The variant has no training samples", where=variant, todo="see the QC reports for what was dropped"
        )
    readers = gene_readers
    if split != "train":
        readers = [StoreReader(place, entry, cache=chunks, plain=plain) for entry in manifest.of_split(split)]
    masks = _masks(manifest, gene_readers)
    var = gene_readers[0].var
    if vocabulary is None:
        vocabulary = _variant_vocabulary(place, gene_readers, masks, max_genes)
    if (
        any(len(mask) != len(var) for mask in masks.values())
        or (len(vocabulary) > 0 and vocabulary.axis_positions[-1] >= len(var))
        or (tuple(var.index[vocabulary.axis_positions]) != vocabulary.ensembl_ids)
    ):
        raise InputError(
            "The stores are not on the gene axis of the vocabulary",
            where=place.name(),
            todo="use a corpus built with the same gene annotation as the model's, or embed the stores as .zarr input",
        )
    genes = GeneMap(vocabulary.axis_positions, len(var))
    cut_studies = frozenset(study for study, mask in masks.items() if not genes.holds(mask))
    if threads is None:
        threads = REMOTE_THREADS if place.remote else min(MOST_THREADS, len(os.sched_getaffinity(0)))
    return Corpus(
        manifest,
        readers,
        vocabulary,
        np.stack([masks[study][vocabulary.axis_positions] for study in manifest.studies]),
        genes=genes,
        cut_studies=cut_studies,
        n_decoded=sum(
            _decoded_nonzeros(reader, vocabulary, cut=reader.entry.study in cut_studies) for reader in readers
        ),
        shares=None if shares is None else _store_shares(shares, [r for r in readers if r.entry.n_samples]),
        split=split,
        options=StreamOptions(
            batch_size=batch_size,
            seed=seed,
            shuffle=shuffle,
            rank=rank,
            world=world,
            drop_last=drop_last,
            threads=max(1, threads),
            memory_bytes=memory_bytes,
            samples_per_epoch=samples_per_epoch,
        ),
    )


def _decoded_nonzeros(reader: StoreReader, vocabulary: Vocabulary, *, cut: bool) -> int:
    """Non-zeros of a store on the genes of the vocabulary."""
    return int(reader.var["n_detected"].to_numpy()[vocabulary.axis_positions].sum()) if cut else reader.entry.nnz


def _masks(manifest: Variant, readers: Sequence[StoreReader]) -> dict[str, np.ndarray]:
    """Measured genes of each study over the axis: from the manifest, or from the stores of a format before 1.0."""
    if manifest.measured is not None:
        return dict(manifest.measured)
    return {reader.entry.study: reader.measured for reader in readers}


def _variant_vocabulary(
    place: Place, readers: Sequence[StoreReader], masks: Mapping[str, np.ndarray], max_genes: int | None
) -> Vocabulary:
    in_use = np.any(list(masks.values()), axis=0)
    positions = np.flatnonzero(in_use)
    if max_genes is not None and len(positions) > max_genes:
        counted = [reader for reader in readers if reader.entry.assay == "sc"] or list(readers)
        # rates, not numbers: every study counts the same, and a gene that it lacks counts as never detected there
        rates = [reader.var["n_detected"].to_numpy() / max(1, reader.entry.n_samples) for reader in counted]
        rate = np.mean(rates, axis=0)[positions]
        most_detected = np.argsort(-rate, kind="stable")[:max_genes]  # stable: a tie goes to the earlier gene
        positions = np.sort(positions[most_detected])
    var = readers[0].var
    ensembl_ids = tuple(var.index[positions])
    return Vocabulary(
        axis_positions=positions.astype(np.int64),
        ensembl_ids=ensembl_ids,
        symbols=tuple(var["symbol"].astype(str).iloc[positions]),
        previous_symbols=previous_symbols(place, ensembl_ids),
    )


def _store_shares(shares: Mapping[str, float], readers: Sequence[StoreReader]) -> np.ndarray:
    """The share of each store, adding up to 1."""
    by_study = {reader.entry.study for reader in readers}
    by_assay = {reader.entry.assay for reader in readers}
    names = {name: float(share) for name, share in shares.items()}
    if not readers:
        raise InputError(
            "Without samples there are no shares", found="a split without samples", todo="leave shares out"
        )
    if set(names) not in (by_study, by_assay) or not sum(names.values()) > 0 or min(names.values()) < 0:
        raise InputError(
            "The shares do not fit the samples of this split",
            expected=f"a share of 0 or more for each of {', '.join(sorted(by_study))}; or for each of "
            f"{', '.join(sorted(by_assay))}",
            found=", ".join(f"{name}: {share}" for name, share in names.items()) or "none",
        )
    key = "study" if set(names) == by_study else "assay"
    totals: dict[str, int] = {}
    for reader in readers:
        totals[getattr(reader.entry, key)] = totals.get(getattr(reader.entry, key), 0) + reader.entry.n_samples
    found = np.array(
        [names[getattr(r.entry, key)] * r.entry.n_samples / totals[getattr(r.entry, key)] for r in readers]
    )
    return found / found.sum()
