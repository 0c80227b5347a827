"""``python -m txfm baseline``."""

import argparse
from pathlib import Path

from txfm.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    pca = _kind(kinds, "pca", "principal components of log-normalised counts, over genes that every study measured")
    pca.add_argument("--components", type=int, default=50, help="default 50")
    pca.add_argument("--standardised", action="store_true", help="scale each component's score to unit variance")
    _kind(kinds, "lognorm", "library-normalised log counts of the variant's vocabulary")
    hvg = _kind(kinds, "hvg", "lognorm of the genes that vary most within studies")
    hvg.add_argument("--top-genes", type=int, default=2000, help="default 2,000")
    scvi = _kind(kinds, "scvi", "scVI over genes that every study measured; needs scvi-tools (extra `scvi`)")
    scvi.add_argument("--dimensions", type=int, default=50, help="of the latent space (default 50)")
    scvi.add_argument("--hidden", type=int, default=128, help="width of a hidden layer (default 128)")
    scvi.add_argument("--layers", type=int, default=1, help="hidden layers (default 1)")
    scvi.add_argument("--epochs", type=int, help="default: scvi-tools' rule, 400 up to 20,000 samples")
    scvi.add_argument(
        "--max-samples", type=int, default=100_000, help="kept in memory, drawn at random (default 100,000)"
    )


def _kind(
    kinds: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str
) -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=summary, description=summary)
    parser.add_argument("--corpus", type=Path, required=True, help="corpus folder")
    parser.add_argument("--variant", required=True, help="whose training samples it is fitted on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the fitted model")
    parser.add_argument("--max-genes", type=int, help="cap on the vocabulary, as in a model's configuration")
    parser.add_argument("--seed", type=int, default=0, help="default 0; lognorm and hvg draw nothing")
    return parser


def run(args: argparse.Namespace) -> None:
    """Fit one baseline."""
    from txfm.artifact.destination import check_destinations

    check_destinations(args.out, inputs={"--corpus": args.corpus})
    numbers = ("components", "top_genes", "dimensions", "hidden", "layers", "epochs", "max_samples", "max_genes")
    for name in numbers:
        value = getattr(args, name, None)
        if value is not None and value < 1:
            raise InputError(
                f"--{name.replace('_', '-')} cannot be used", expected="a number of 1 or more", found=str(value)
            )
    baseline = _fitted(args)
    baseline.save(args.out)
    sizes = f"{baseline.card['samples_seen']:,} samples, {len(baseline.vocabulary):,} genes"
    print(f"wrote {args.out}: {args.kind} of {sizes}, {baseline.n_dimensions:,} dimensions")


def _fitted(args: argparse.Namespace):  # type: ignore[no-untyped-def]  # a Baseline; imported late, so that --help stays fast
    from txfm.baselines import fit
    from txfm.baselines.pca import most_components
    from txfm.baselines.scvi import ScviSettings, scvi
    from txfm.baselines.training_samples import open_training, require_shared_genes

    training = open_training(args.corpus, args.variant, max_genes=args.max_genes)
    if args.kind in ("lognorm", "hvg"):
        return fit.log_counts(training, n_top_genes=args.top_genes if args.kind == "hvg" else None)
    genes = require_shared_genes(training, args.variant)
    if args.kind == "pca":
        training = open_training(args.corpus, args.variant, vocabulary=genes)
        most = most_components(training.n_samples, len(genes))
        if args.components > most:
            sizes = f"{training.n_samples:,} samples and {len(genes):,} shared genes"
            print(f"{most:,} components instead of {args.components:,}: {sizes} have no more", flush=True)
        return fit.pca(training, n_components=args.components, standardised=args.standardised, seed=args.seed)
    settings = ScviSettings(
        n_latent=args.dimensions,
        n_hidden=args.hidden,
        n_layers=args.layers,
        max_epochs=args.epochs,
        max_samples=args.max_samples,
    )
    shuffled = open_training(args.corpus, args.variant, vocabulary=genes, shuffle=True, seed=args.seed)
    return scvi(shuffled, settings, args.seed)
