"""``python -m txfm evaluate BENCHMARK``."""

import argparse
import importlib

# benchmark -> (module with add_arguments(parser) and run(args), light to import; one line of help)
BENCHMARKS = {
    "held-out": ("txfm.evaluation.held_out_cli", "compare models and their controls on a label of a held-out study"),
    "perturbation": ("txfm.evaluation.perturbation.cli", "score embedders by six tasks on a screen of perturbations"),
    "cells": ("txfm.evaluation.cells.cli", "score embedders by clusters and classifiers of labelled samples"),
    "layers": ("txfm.evaluation.layers.cli", "score every layer of networks by labels of cells or by perturbations"),
    "genes": ("txfm.evaluation.genes.cli", "compare learned vectors of genes by the known relationships they recall"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for name, (module_name, summary) in BENCHMARKS.items():
        benchmark = benchmarks.add_parser(name, help=summary, description=summary)
        importlib.import_module(module_name).add_arguments(benchmark)


def run(args: argparse.Namespace) -> None:
    """Run one benchmark."""
    importlib.import_module(BENCHMARKS[args.benchmark][0]).run(args)
