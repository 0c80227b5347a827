"""``python -m txfm evaluate held-out``."""

import argparse
from pathlib import Path

from txfm.destinations import check_file
from txfm.errors import InputError
from txfm.evaluation.arguments import add_computing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the benchmark."""
    parser.add_argument("--store", type=Path, required=True, help="store of a held-out study")
    parser.add_argument("--label", required=True, help="column of obs to predict, such as cell_line")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="corpus that the models were trained on (PCA is fitted on it)"
    )
    parser.add_argument(
        "--models", type=Path, nargs="+", required=True, help="folders of trained models and fitted baselines"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="table.json; table.tsv and table.md are written beside it"
    )
    parser.add_argument(
        "--thin-to", type=int, default=300, help="counts per sample of the thinned comparison (default 300)"
    )
    parser.add_argument(
        "--max-samples", type=int, default=10_000, help="of the held-out study, drawn at random (default 10,000)"
    )
    add_computing(parser)


def run(args: argparse.Namespace) -> None:
    """Compare models on a held-out study."""
    check_file(args.out, ".json")
    if args.thin_to < 1 or args.max_samples < 1:
        raise InputError("--thin-to and --max-samples start at 1", found=f"{args.thin_to}, {args.max_samples}")
    from txfm.evaluation.compare import compare
    from txfm.evaluation.held_out import read_held_out
    from txfm.evaluation.table import as_mapping, write_table
    from txfm.evaluation.telling import tell_not_scored
    from txfm.hardware import choose_hardware

    hardware = choose_hardware(args.device, "float32", args.threads)
    print(hardware, flush=True)
    study = read_held_out(args.store, args.label, args.max_samples)
    rows, refused = compare(study, args.corpus, args.models, args.thin_to, str(hardware.device))
    table = as_mapping(study, rows, args.thin_to, refused)
    write_table(table, args.out)
    print("\n".join(table["reading"]))
    tell_not_scored(table["not_scored"], ())
    print(f"wrote {args.out}")
