"""``python -m txfm pull``."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("source", metavar="ORG/NAME", help="repository; ORG/NAME@REVISION for another than the newest")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")


def run(args: argparse.Namespace) -> None:
    """Download a model."""
    from txfm.artifact.hub import pull

    pull(args.source, args.out)
    print(f"wrote {args.out}, every sum compared")
