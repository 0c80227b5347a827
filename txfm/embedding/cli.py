"""``python -m txfm embed``."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txfm.errors import InputError

if TYPE_CHECKING:
    from txfm.embedder import Embedder
    from txfm.embedding.options import EmbeddingOptions
    from txfm.embedding.outputs.embedded import Embedded

OUTPUTS = (".h5ad", ".zarr", ".parquet", ".csv", ".npy")
NAMING = (".h5ad", ".zarr")  # have obsm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("model", help="folder of a trained model or a fitted baseline, or hf://ORG/NAME")
    parser.add_argument(
        "input",
        type=Path,
        nargs="?",
        help="raw counts: .h5ad, .zarr, 10x .h5, .mtx or its folder, .csv, .tsv; or CORPUS/variants/NAME.json",
    )
    parser.add_argument("--out", type=Path, required=True, help=f"{', '.join(OUTPUTS)}; see docs/embedding.md")
    parser.add_argument(
        "--force", action="store_true", help="replace the output if it exists, and in a copy vectors of the same --key"
    )
    parser.add_argument(
        "--key", help=".h5ad, .zarr: name of the vectors in obsm and of their record in uns (default X_txfm)"
    )
    parser.add_argument(
        "--obs-only", action="store_true", help=".h5ad to .h5ad: leave X and everything but obs and var out"
    )
    parser.add_argument("--misses", type=Path, help=".csv of every gene that the model or the input lacks, and why")
    corpus = parser.add_argument_group("a corpus instead of a file")
    corpus.add_argument("--corpus", help="folder or address of a corpus")
    corpus.add_argument("--variant", help="whose samples to embed, training and validation")
    reading = parser.add_argument_group("reading the input")
    reading.add_argument("--counts", default="X", help="where the raw counts are: X, raw or layers/NAME (default X)")
    reading.add_argument("--gene-column", help="column of var with Ensembl ids or symbols, or index (default: found)")
    reading.add_argument("--genome", help="which one of a 10x .h5 that holds several")
    reading.add_argument(
        "--min-matched-share",
        type=float,
        help="least share of the model's genes (default 0.3; any share of a store, which says what was measured)",
    )
    reading.add_argument("--allow-fractional", action="store_true", help="accept expected counts")
    reading.add_argument(
        "--allow-deep", action="store_true", help="accept more counts a sample than a library has reads"
    )
    reading.add_argument("--chunk-rows", type=int, help="rows in memory at a time (default: by their size)")
    how = parser.add_argument_group("how to embed")
    how.add_argument("--genes", default="all", help="all, or how many measured genes to show (default all)")
    how.add_argument("--n-masks", type=int, default=1, help="draws of --genes to average (default 1)")
    how.add_argument(
        "--model-layer", "--layer", default="cls", help="cls, block1 ..., decoder1 ... (default cls, the embedding)"
    )
    how.add_argument(
        "--batch-size", default="auto", help="samples per forward pass, or auto: from memory (default auto)"
    )
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    how.add_argument("--precision", default="float32", help="float32 or bf16 (default float32)")
    how.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")


def run(args: argparse.Namespace) -> None:
    """Embed a file or a variant."""
    from txfm.embedding.options import EmbeddingOptions
    from txfm.embedding.outputs.destination import check_destination
    from txfm.embedding.variant_path import variant_of_path
    from txfm.hardware import choose_hardware
    from txfm.loading import load

    corpus = _corpus(args) or variant_of_path(args.input)
    keep = (Path(args.model), *([] if args.input is None else [args.input]))
    check_destination(args.out, suffixes=OUTPUTS, force=args.force, keep=keep)
    if args.misses:
        check_destination(args.misses, suffixes=(".csv",), force=args.force, keep=keep)
    options = EmbeddingOptions(
        genes=args.genes if args.genes == "all" else _whole_number("--genes", "all", args.genes),
        n_masks=args.n_masks,
        model_layer=args.model_layer,
        batch_size=None if args.batch_size == "auto" else _whole_number("--batch-size", "auto", args.batch_size),
        precision=args.precision,
    )
    hardware = choose_hardware(args.device, args.precision, args.threads)
    model = load(args.model, str(hardware.device))
    print(replace(hardware, device=model.device), flush=True)  # a baseline's is the CPU, whatever there is
    if corpus:
        _embed_variant(args, *corpus, model, options)
    else:
        _embed_file(args, model, options)


def _embed_file(args: argparse.Namespace, model: "Embedder", options: "EmbeddingOptions") -> None:
    from txfm.embedding.gene_names import KnownGenes
    from txfm.embedding.inputs.opening import open_samples
    from txfm.embedding.outputs.anndata_files import can_be_copied, refuse_taken
    from txfm.embedding.outputs.embedded import Embedded
    from txfm.embedding.outputs.writing import write
    from txfm.embedding.progress import told
    from txfm.embedding.record import record_of
    from txfm.embedding.run import EmbeddingRun, ReadingOptions

    reading = ReadingOptions(
        gene_column=args.gene_column,
        min_matched_share=args.min_matched_share,
        allow_fractional=args.allow_fractional,
        allow_deep=args.allow_deep,
        chunk_rows=args.chunk_rows,
    )
    key = _key(args)
    both_h5ad = args.input.suffix == args.out.suffix == ".h5ad"
    with open_samples(
        args.input, known=KnownGenes(model.vocabulary), counts=args.counts, genome=args.genome
    ) as samples:
        copy_of = args.input if both_h5ad and not args.obs_only and can_be_copied(args.input) else None
        if copy_of and not args.force:
            refuse_taken(copy_of, key)
        job = EmbeddingRun(samples, model, options, reading)
        print("\n".join([*samples.notes, str(job.match)]), flush=True)

        def record() -> dict[str, Any]:
            return {
                **record_of(args.model, model.card, options),
                "input": args.input.name,
                "counts": args.counts,
                "n_genes_used": int(job.match.measured.sum()),
                "share_of_vocabulary": job.match.matched_share,
                "share_of_counts": job.tally.matched_count_share,
                "n_samples_without_counts": job.tally.n_empty,
            }

        embedded = Embedded(
            blocks=told(job.blocks(), job.n_samples),
            n_samples=job.n_samples,
            width=job.width,
            read_obs=samples.read_obs,
            var=samples.var if args.counts != "raw" else None,
            record=record,
            copy_of=copy_of,
            key=key,
        )
        write(args.out, embedded)
    print(job.tally, flush=True)
    if args.misses:
        print(f"wrote {args.misses}: {job.tally.write_misses(args.misses):,} genes")
    _tell(args.out, embedded, job.tally.n_empty)


def _embed_variant(
    args: argparse.Namespace, corpus: str, variant: str, model: "Embedder", options: "EmbeddingOptions"
) -> None:
    from txfm.embedding.outputs.embedded import Embedded
    from txfm.embedding.outputs.writing import write
    from txfm.embedding.progress import told
    from txfm.embedding.record import record_of
    from txfm.embedding.variant import VariantRun

    if args.misses:
        raise InputError("--misses is for files", found=f"a variant, whose genes are those of its corpus: {variant}")
    job = VariantRun(corpus, variant, model, options, args.chunk_rows)
    print(job, flush=True)
    embedded = Embedded(
        blocks=told(job.blocks(), job.n_samples),
        n_samples=job.n_samples,
        width=job.width,
        read_obs=job.labels,
        var=None,
        record=lambda: {
            **record_of(args.model, model.card, options),
            "input": variant,
            "share_of_vocabulary": job.measured_share,
            "n_samples_without_counts": job.n_empty,
        },
        key=_key(args),
    )
    write(args.out, embedded)
    _tell(args.out, embedded, job.n_empty)


def _key(args: argparse.Namespace) -> str:
    """Of the vectors in obsm.

    Raises
    ------
    InputError
        It is not a name, or the output has none.
    """
    from txfm.embedding.outputs.embedded import EMBEDDING_KEY

    if args.key is None:
        return EMBEDDING_KEY
    if args.out.suffix not in NAMING:
        raise InputError("--key names vectors in obsm", expected=" or ".join(NAMING), found=args.out.name)
    if not args.key or "/" in args.key:
        raise InputError("--key cannot be used", expected="a name without /, such as X_pca", found=repr(args.key))
    return str(args.key)


def _tell(out: Path, embedded: "Embedded", n_empty: int) -> None:
    from txfm.embedding.tally import told_of_empty

    print(f"wrote {out}: {embedded.n_samples:,} samples, {embedded.width:,} dimensions", flush=True)
    if empty := told_of_empty(n_empty, embedded.n_samples):
        print(f"warning: {empty}", flush=True)


def _corpus(args: argparse.Namespace) -> tuple[str, str] | None:
    """Corpus and variant, if they are what to embed."""
    given = {"a file": args.input, "--corpus": args.corpus, "--variant": args.variant}
    named = {name for name, value in given.items() if value is not None}
    if named not in ({"a file"}, {"--corpus", "--variant"}):
        raise InputError(
            "This does not say what to embed",
            expected="a file, or --corpus with --variant",
            found=" and ".join(sorted(named)) or "neither",
        )
    return (args.corpus, args.variant) if args.corpus else None


def _whole_number(option: str, otherwise: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{option} cannot be used", expected=f"{otherwise} or a number", found=text)
    return int(text)
