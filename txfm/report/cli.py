"""``python -m txfm report``."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--results", type=Path, required=True, help="folder of a build: results/<name>")
    parser.add_argument("--out", type=Path, required=True, help="the page; pictures go to RESULTS/figures")


def run(args: argparse.Namespace) -> None:
    """Write the page and its pictures."""
    from txfm.report.build_page import build_page

    n_bytes = build_page(args.results, args.out)
    print(f"wrote {args.out}: {n_bytes / 2**20:.1f} MiB")
