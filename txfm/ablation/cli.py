"""``python -m txfm ablation``."""

import argparse
from pathlib import Path

from txfm.destinations import check_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "--cells",
        required=True,
        metavar="JSON",
        help='[{"factor": "loss", "alternative": "mse", "variant": "all", "model": "nano__loss_mse"}, ...]; the '
        "default has an empty factor and alternative. The workflow writes it from `ablations` of the config",
    )
    parser.add_argument(
        "--models", type=Path, nargs="+", required=True, help="folders <variant>.<model>.s<seed> of all cells"
    )
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="*",
        default=[],
        help="tables of held-out studies (.json), folders with scores.parquet",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="table.json; .parquet, .tsv and .md are written beside it"
    )


def run(args: argparse.Namespace) -> None:
    """Compare the cells of a grid."""
    check_file(args.out, ".json")
    from txfm.ablation import table
    from txfm.ablation.comparison import compare
    from txfm.ablation.cost import costs
    from txfm.ablation.grid import read_cells, read_grid
    from txfm.ablation.measurements import lack_of_scores, measurements
    from txfm.artifact.sums import sums_of

    grid = read_grid(read_cells(args.cells), args.models)
    rows = compare(grid, measurements(grid, args.scores))
    files = [path / "scores.parquet" if path.is_dir() else path for path in args.scores]
    sources = {str(path): str(sums_of(path)["sha256"]) for path in files}
    lacking = {path: lack_of_scores(path) for path in args.scores if path.is_dir()}
    warnings = [f"{path} has no scores: {reason}" for path, reason in lacking.items() if reason]
    written = table.as_mapping(rows, costs(grid), sources, warnings)
    table.write(rows, written, args.out)
    for sentence in written["warnings"]:
        print(f"warning: {sentence}")
    n_significant, n_tested = int(rows["significant"].sum()), int(rows["p"].notna().sum())
    print(f"{len(grid)} cells; {n_significant} of {n_tested} differences to the default are significant")
    print(f"wrote {args.out}")
