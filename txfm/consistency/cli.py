"""``python -m txfm consistency``: phenoprints.tsv of a screen."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from txfm.errors import InputError

NULLS = ("pooled", "per_perturbation")
EMBEDDING_FILES = (".npy", ".parquet", ".h5ad")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--out", type=Path, required=True, help=".tsv to write; a .json of parameters goes beside it")
    source = parser.add_argument_group("what is measured")
    source.add_argument("--stores", type=Path, nargs="+", help=".zarr stores of one screen; alone: PCA of their counts")
    source.add_argument(
        "--model", type=Path, help="embed the stores by this trained model, one that never saw the screen"
    )
    source.add_argument(
        "--embeddings", type=Path, help=".parquet or .h5ad of `txfm embed`, or .npy in the stores' order"
    )
    source.add_argument("--authors", type=Path, help=".h5ad with the authors' own statistics, instead of all of these")
    source.add_argument(
        "--controls", nargs="+", default=[], help="labels of controls in --embeddings (default is_control)"
    )
    source.add_argument("--study", help="rows of --embeddings to take (default all)")
    source.add_argument("--column", default="energy_test_p_value", help="p-values of --authors (default %(default)s)")
    how = parser.add_argument_group("how")
    how.add_argument("--null", choices=NULLS, default="pooled", help="which p-value p_value is (default %(default)s)")
    how.add_argument("--null-cells", type=int, default=10_000, help="random cells of the null (default %(default)s)")
    how.add_argument("--seed", type=int, default=0, help="of the random cells (default %(default)s)")
    how.add_argument("--components", type=int, default=50, help="of the PCA (default %(default)s)")
    how.add_argument("--genes", type=int, default=2_000, help="most variable genes of the PCA (default %(default)s)")
    how.add_argument("--no-align", action="store_true", help="take the embeddings as they are")
    how.add_argument("--threads", type=int, help="CPU threads (default: all)")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, for --model (default auto)")


def run(args: argparse.Namespace) -> None:
    """Measure one screen."""
    if args.out.suffix != ".tsv":
        raise InputError("The table is a .tsv", where="--out", found=str(args.out))
    if args.null_cells < 1 or args.components < 1 or args.genes < 1 or args.seed < 0:
        raise InputError("--null-cells, --components and --genes are at least 1, --seed at least 0")
    _check_sources(args)
    if args.authors:
        from txfm.consistency.authors import read_authors_table

        table = read_authors_table(args.authors, args.column)
    else:
        from threadpoolctl import threadpool_limits

        args.out.parent.mkdir(parents=True, exist_ok=True)
        with (
            threadpool_limits(args.threads),
            tempfile.TemporaryDirectory(prefix=f".{args.out.name}.", dir=args.out.parent) as scratch,
        ):
            table = _measure(args, Path(scratch))
    table.write(args.out)
    summary = table.summary()
    shares = ", ".join(f"{share:.1%} with p < {p}" for p, share in summary["share_below"].items())
    print(f"wrote {args.out}: {summary['n_perturbations']:,} perturbations, {shares}")
    if summary["n_without_p_value"]:
        print(f"{summary['n_without_p_value']:,} perturbations have no p-value: fewer than 2 cells, or none is stated")


def _check_sources(args: argparse.Namespace) -> None:
    given = {name: getattr(args, name) for name in ("stores", "model", "embeddings", "authors") if getattr(args, name)}
    valid = ({"stores"}, {"stores", "model"}, {"embeddings"}, {"stores", "embeddings"}, {"authors"})
    needs_stores = "embeddings" in given and args.embeddings.suffix == ".npy"
    if set(given) not in valid or (needs_stores and "stores" not in given):
        raise InputError(
            "This does not say what to measure",
            expected="--stores, alone or with --model or --embeddings X.npy; or --embeddings FILE; or --authors FILE",
            found=" ".join(f"--{name}" for name in given) or "none of them",
        )
    if "embeddings" not in given:
        return
    if args.embeddings.suffix not in EMBEDDING_FILES:
        raise InputError(
            "The kind of the embeddings is unknown",
            where=str(args.embeddings),
            expected=", ".join(EMBEDDING_FILES),
            found=args.embeddings.suffix,
        )
    if "stores" in given and not needs_stores:
        raise InputError(f"A {args.embeddings.suffix} file has labels of its own", todo="leave --stores out")


def _measure(args: argparse.Namespace, scratch: Path):  # type: ignore[no-untyped-def]  # late imports keep --help fast
    from txfm.consistency.align import align
    from txfm.consistency.statistic import measure_consistency
    from txfm.consistency.table import ConsistencyTable

    embeddings, cells, made_from = _embed(args, scratch)
    print(
        f"{len(cells):,} cells, {int(cells.is_control.sum()):,} of them controls; {embeddings.shape[1]} dimensions",
        flush=True,
    )
    ready = embeddings if args.no_align else align(embeddings, cells)
    found = measure_consistency(ready, cells, n_null_cells=args.null_cells, seed=args.seed)
    if found.n_zero:
        print(f"{found.n_zero:,} cells have no direction, such as the only cell of a batch: cosine 0", file=sys.stderr)
    return ConsistencyTable(
        perturbations=cells.perturbations,
        n_cells=found.n_cells,
        statistic=found.statistic,
        p_value=getattr(found, f"p_{args.null}"),
        p_pooled=found.p_pooled,
        p_per_perturbation=found.p_per_perturbation,
        parameters={
            **made_from,
            "n_cells": len(cells),
            "n_controls": int(cells.is_control.sum()),
            "n_batches": int(cells.batch.max()) + 1,
            "n_cells_without_direction": found.n_zero,
            "n_dimensions": embeddings.shape[1],
            "n_components_aligned": None if args.no_align else ready.shape[1],
            "null": args.null,
            "n_null_cells": found.n_null_cells,
            "n_null_cosines": found.n_null,
            "seed": args.seed,
        },
    )


def _embed(args: argparse.Namespace, scratch: Path) -> tuple[Any, Any, dict[str, Any]]:
    from txfm.consistency.cells import NpyEmbeddings
    from txfm.consistency.stores import Screen

    vectors = scratch / "embeddings.npy"
    if args.stores is None:
        from txfm.consistency.sources import read_h5ad, read_parquet

        controls = tuple(args.controls)
        if args.embeddings.suffix == ".parquet":
            embeddings, cells = read_parquet(args.embeddings, controls, args.study, vectors)
        else:
            embeddings, cells = read_h5ad(args.embeddings, controls, vectors)
        return embeddings, cells, {"made_from": "embeddings", "file": args.embeddings.name, "study": args.study}
    screen = Screen(args.stores)
    cells = screen.cells()
    about = {
        "study": screen.study,
        "recipe": screen.entries[0].recipe,
        "simulated": any(entry.simulated for entry in screen.entries),
        "stores": {entry.name: entry.digest for entry in screen.entries},
    }
    if args.embeddings:
        embeddings = NpyEmbeddings(args.embeddings)
        if embeddings.shape[0] != len(cells):
            raise InputError(
                "The embeddings are not those of the stores",
                where=str(args.embeddings),
                expected=f"{len(cells):,} rows, those of the stores in their order",
                found=f"{embeddings.shape[0]:,}",
            )
        return embeddings, cells, {"made_from": "embeddings", "file": args.embeddings.name, **about}
    if args.model:
        from txfm.consistency.by_model import embed_by_model, load_unaware
        from txfm.hardware import choose_hardware

        hardware = choose_hardware(args.device, "float32", args.threads)
        print(hardware, flush=True)
        model, card = load_unaware(args.model, screen.study, str(hardware.device))
        return embed_by_model(screen, model, vectors), cells, {"made_from": "model", **card, **about}
    from txfm.consistency.expression import LIBRARY_SIZE_COUNTS, embed_by_pca, fit_expression_pca

    pca = fit_expression_pca(screen, cells.is_control, n_components=args.components, n_genes=args.genes, seed=args.seed)
    made_from = {
        "made_from": "PCA of log-normalised counts, fitted on controls",
        "library_size_counts": LIBRARY_SIZE_COUNTS,
        "n_genes": len(pca.genes),
        "n_fit_cells": pca.n_fit_cells,
        "explained_variance": round(pca.explained, 6),
    }
    return embed_by_pca(screen, pca, vectors), cells, made_from | about
