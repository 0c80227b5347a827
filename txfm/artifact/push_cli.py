"""``python -m txfm push``."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("folder", type=Path, help="folder of a model")
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="repository; made if there is none")
    parser.add_argument("--private", action="store_true", help="make it for members only")


def run(args: argparse.Namespace) -> None:
    """Upload a model."""
    from txfm.artifact.hub import push

    print(f"pushed {args.folder}: {push(args.folder, args.repo, args.private)}")
