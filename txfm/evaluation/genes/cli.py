"""``python -m txfm evaluate genes``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from txfm.destinations import check_folder
from txfm.errors import InputError
from txfm.evaluation.arguments import add_outputs, add_relations
from txfm.evaluation.genes.settings import ModuleSettings, RecallSettings

if TYPE_CHECKING:
    from txfm.evaluation.genes.run import GeneBenchmark

RECALL = RecallSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the sub-verb."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="[NAME=]MODEL",
        help="folders of trained models and baselines, hf:// addresses, or .parquet or .csv tables of gene vectors as "
        "`txfm genes` writes them",
    )
    add_relations(parser)
    parser.add_argument("--databases", nargs="+", metavar="NAME", help="of them (default: all)")
    parser.add_argument(
        "--gene-types",
        type=Path,
        metavar="FILE",
        help="HGNC's complete set, or genes.parquet of a corpus: only protein-coding genes count (default: all genes)",
    )
    add_outputs(parser)
    parser.add_argument(
        "--null-pairs",
        type=int,
        default=RECALL.n_null,
        metavar="N",
        help="random pairs of a null (default %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=RECALL.seeds, metavar="N", help="of the nulls (default 0 1 2)"
    )
    parser.add_argument("--sweep", action="store_true", help="also with 8 to 1,024 components")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="FOLDER",
        help="also along the training of the one model: MODEL.kept, where train --keep-every-steps wrote it",
    )
    modules = parser.add_argument_group("modules of genes (needs igraph, extra `evaluate`)")
    modules.add_argument("--modules", action="store_true", help="find modules of genes, and test them for enrichment")
    modules.add_argument("--gene-sets", type=Path, nargs="+", default=[], metavar="FILE", help=".gmt files")
    modules.add_argument("--truth", type=Path, metavar="FILE", help="table of genes and their true module")
    modules.add_argument(
        "--neighbours", dest="n_neighbours", type=int, metavar="N", help="of a gene in the graph (default 15)"
    )
    modules.add_argument("--resolution", type=float, metavar="X", help="of the modularity (default 1)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")


def run(args: argparse.Namespace) -> None:
    """Measure, write, and print the table."""
    check_folder(args.out)
    _check(args)
    from threadpoolctl import threadpool_limits

    from txfm.evaluation.genes.outputs import write_reason, write_results
    from txfm.evaluation.genes.run import evaluate_genes
    from txfm.evaluation.relation_files import lack_of_relations

    benchmark = _benchmark(args)
    lack = lack_of_relations(benchmark.relations, benchmark.databases) if args.without_relations else None
    if lack is None:
        with threadpool_limits(args.threads):
            results = evaluate_genes(benchmark)
        write_results(results, benchmark, args.out)
    else:
        write_reason(lack, benchmark, args.out)
    print((args.out / "scores.md").read_text())
    print(f"wrote {args.out}")


def _check(args: argparse.Namespace) -> None:
    for name in ("null_pairs", "n_neighbours", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"{_option(name)} cannot be used", expected="1 or more", found=str(value))
    if args.resolution is not None and not 0 < args.resolution < float("inf"):
        raise InputError("--resolution cannot be used", expected="above 0", found=str(args.resolution))
    if min(args.seeds) < 0 or len(set(args.seeds)) < len(args.seeds):
        raise InputError("--seeds cannot be used", expected="different numbers from 0", found=str(args.seeds))
    if not args.modules:
        for name in ("gene_sets", "truth", "n_neighbours", "resolution"):
            if getattr(args, name):
                raise InputError(f"{_option(name)} says something of modules", todo="add --modules")


def _option(name: str) -> str:
    return "--" + name.removeprefix("n_").replace("_", "-")


def _benchmark(args: argparse.Namespace) -> "GeneBenchmark":
    from txfm.evaluation.genes.run import GeneBenchmark

    how = {name: getattr(args, name) for name in ("n_neighbours", "resolution") if getattr(args, name) is not None}
    return GeneBenchmark(
        sources=tuple(args.models),
        relations=args.relations,
        databases=None if args.databases is None else tuple(args.databases),
        gene_types=args.gene_types,
        recall=RecallSettings(n_null=args.null_pairs, seeds=tuple(args.seeds)),
        sweep=args.sweep,
        checkpoints=args.checkpoints,
        modules=ModuleSettings(**how) if args.modules else None,
        gene_sets=tuple(args.gene_sets),
        truth=args.truth,
    )
