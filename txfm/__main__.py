"""Command line: ``python -m txfm VERB``.

Exit code 0: done; 2: the input is wrong; 75: a training was asked to stop and can go on; 1: anything else.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from txfm.errors import InputError

# verb -> (module with add_arguments(parser) and run(args), one line of help); only the called verb's module is imported
VERBS = {
    "train": ("txfm.training.cli", "train a model on a variant of a corpus, or describe one"),
    "finetune": ("txfm.finetuning.cli", "go on training a model with samples of your own"),
    "embed": ("txfm.embedding.cli", "embed the samples of a file of raw counts, or of a variant of a corpus"),
    "genes": ("txfm.embedding.genes_cli", "write the learned vectors of a model's genes as a table"),
    "consistency": ("txfm.consistency.cli", "find the perturbations of a screen that have a consistent effect"),
    "baseline": ("txfm.baselines.cli", "fit PCA, log counts or scVI on the training samples of a variant"),
    "evaluate": ("txfm.evaluation.cli", "compare models, baselines and other embeddings by a benchmark"),
    "ablation": ("txfm.ablation.cli", "compare the models of a grid with its default"),
    "push": ("txfm.artifact.push_cli", "upload a model to the Hugging Face Hub"),
    "pull": ("txfm.artifact.pull_cli", "download a model from the Hugging Face Hub"),
    "report": ("txfm.report.cli", "write one page with the pictures and tables of a build"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    top = argparse.ArgumentParser(prog="python -m txfm", description="Train TxFM and use it.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    wanted = arguments[0] if arguments else ""
    for verb, (module_name, summary) in VERBS.items():
        parser = verbs.add_parser(verb, help=summary, description=summary)
        if verb == wanted:
            module = importlib.import_module(module_name)
            module.add_arguments(parser)
            parser.set_defaults(run=module.run, command_line=arguments)
    parsed = top.parse_args(arguments)
    try:
        parsed.run(parsed)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
