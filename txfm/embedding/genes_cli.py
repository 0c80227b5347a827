"""``python -m txfm genes``: the learned vectors of a model's genes as a table."""

import argparse
from pathlib import Path

OUTPUTS = (".parquet", ".csv")
TABLES = ("encoder", "decoder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("model", help="folder of a trained model or a fitted baseline, or hf://ORG/NAME")
    parser.add_argument(
        "--out", type=Path, required=True, help=".parquet or .csv: ensembl_id, symbol, encoder0, ..., decoder0, ..."
    )
    parser.add_argument(
        "--which", choices=(*TABLES, "both"), default="both", help="tokens, weights or both (default both)"
    )
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")


def run(args: argparse.Namespace) -> None:
    """Write the table."""
    import pandas as pd

    from txfm.embedding.outputs.destination import atomic, check_destination
    from txfm.loading import load

    check_destination(args.out, suffixes=OUTPUTS, force=args.force, keep=(Path(args.model),))
    model = load(args.model)
    parts = [
        pd.DataFrame(
            {"symbol": model.vocabulary.symbols}, index=pd.Index(model.vocabulary.ensembl_ids, name="ensembl_id")
        )
    ]
    for which in TABLES if args.which == "both" else (args.which,):
        vectors = model.gene_embeddings(which).drop(columns="symbol")
        parts.append(vectors.set_axis([f"{which}{i}" for i in range(vectors.shape[1])], axis=1))
    table = pd.concat(parts, axis=1)
    with atomic(args.out) as temporary:
        if args.out.suffix == ".parquet":
            table.reset_index().to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary)
    print(f"wrote {args.out}: {len(table):,} genes, {table.shape[1] - 1:,} numbers each")
