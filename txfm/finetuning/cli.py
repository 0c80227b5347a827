"""``python -m txfm finetune``."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from txfm.errors import InputError
from txfm.training.run_options import add_run_options, check_run_options, run_on_ranks, settings_of

if TYPE_CHECKING:
    from txfm.finetuning.target import Target
    from txfm.hardware import Hardware
    from txfm.pretrained import PretrainedModel
    from txfm.training.ranks import Ranks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("model", help="folder of a trained model, or hf://ORG/NAME")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="raw counts: .h5ad, .zarr, 10x .h5, .mtx or its folder, .csv, .tsv; or a corpus folder, with --variant",
    )
    parser.add_argument("--variant", help="of a corpus: whose samples")
    parser.add_argument("--out", type=Path, required=True, help="folder of the fine-tuned model")
    parser.add_argument("--checkpoints", type=Path, help="folder for checkpoints (default: OUT.checkpoints)")
    parser.add_argument("--seed", type=int, default=0, help="of shuffling, masks, and weights from scratch (default 0)")
    parser.add_argument(
        "--set",
        default="{}",
        metavar="JSON",
        help='fields of training to change, as in {"epochs": 20, "batch_size_samples": 128}; default: 10 epochs, and '
        "otherwise the model's own",
    )
    parser.add_argument(
        "--no-from-scratch",
        dest="from_scratch",
        action="store_false",
        help="do not train a second model from scratch to compare with; half the time",
    )
    held_out = parser.add_argument_group("what is held out")
    held_out.add_argument("--batch-column", help="column of obs that names experimental batches")
    held_out.add_argument(
        "--validation",
        choices=("batches", "none"),
        default="batches",
        help="batches (default): whole batches of a file, the validation stores of a corpus; none: nothing, and no "
        "training from scratch, which could not be compared",
    )
    held_out.add_argument("--validation-share", type=float, default=0.1, help="of a file's samples (default 0.1)")
    held_out.add_argument(
        "--corpus",
        metavar="FOLDER",
        help="that the model, or its parent, was trained on: refuse held-out samples that are training samples there, "
        "whatever their study is called; without it this is not checked, which is said",
    )
    reading = parser.add_argument_group("reading a file")
    reading.add_argument(
        "--study", help="of samples whose study the column study of obs does not name (default: the file's name)"
    )
    reading.add_argument("--counts", default="X", help="where the raw counts are: X, raw or layers/NAME (default X)")
    reading.add_argument("--gene-column", help="column of var with Ensembl ids or symbols, or index (default: found)")
    reading.add_argument("--genome", help="which one of a 10x .h5 that holds several")
    reading.add_argument(
        "--min-matched-share", type=float, help="of the model's genes (default 0.3; any of a store of this project)"
    )
    reading.add_argument("--allow-fractional", action="store_true", help="accept expected counts, and round them")
    how = parser.add_argument_group("how it runs")
    add_run_options(how)
    how.add_argument("--memory-gib", type=float, default=1.0, help="cache of decoded blocks of a corpus (default 1)")


def run(args: argparse.Namespace) -> None:
    """Fine-tune."""
    check_run_options(args)
    _changes(args.set)
    run_on_ranks(_finetune, args)


def _finetune(args: argparse.Namespace, hardware: "Hardware", ranks: "Ranks") -> None:
    from txfm.artifact.destination import check_destinations
    from txfm.finetuning.changes import finetuning_config
    from txfm.finetuning.run import FinetuningRun, finetune
    from txfm.finetuning.seen_samples import compare_with_seen
    from txfm.training.fit import FitSettings

    checkpoints = args.checkpoints or args.out.parent / f"{args.out.name}.checkpoints"
    others = {"checkpoints": checkpoints, "tensorboard": args.tensorboard}
    ranks.from_main(lambda: check_destinations(args.out, **others, inputs={"--data": args.data}))

    def prepared() -> tuple[FinetuningRun, "Target"]:
        model = _model(args.model)
        config = finetuning_config(model.config, _changes(args.set))
        settings = FitSettings(config=config, seed=args.seed, checkpoints=checkpoints, **settings_of(args))
        target = _target(args, model)
        compared = None
        if target.validates and ranks.is_main:
            compared = compare_with_seen(target, model, args.model, args.corpus)
            print(compared, flush=True)
        job = FinetuningRun(
            model=model,
            name=args.model,
            settings=settings,
            out=args.out,
            compares=args.from_scratch,
            held_out_samples=compared,
        )
        return job, target

    finetune(*ranks.after_main(prepared), hardware, ranks)


def _model(source: str) -> "PretrainedModel":
    from txfm.loading import load
    from txfm.pretrained import PretrainedModel

    model = load(source)
    if isinstance(model, PretrainedModel):
        return model
    raise InputError(
        "Only a TxFM can be fine-tuned",
        where=source,
        expected="kind txfm",
        found=f"kind {model.card['kind']}",
        todo="fit the baseline on the new samples: python -m txfm baseline --help",
    )


def _target(args: argparse.Namespace, model: "PretrainedModel") -> "Target":
    from txfm.embedding.run import ReadingOptions
    from txfm.embedding.variant_path import variant_of_path
    from txfm.finetuning.file_target import FileTarget
    from txfm.finetuning.target import TargetOptions
    from txfm.finetuning.variant_target import VariantTarget

    options = TargetOptions(
        validates=args.validation == "batches",
        batch_column=args.batch_column,
        validation_share=args.validation_share,
        study=args.study,
        counts=args.counts,
        genome=args.genome,
        reading=ReadingOptions(
            gene_column=args.gene_column,
            min_matched_share=args.min_matched_share,
            allow_fractional=args.allow_fractional,
        ),
    )
    corpus = (str(args.data), args.variant) if args.variant else variant_of_path(args.data)
    if corpus is not None:
        return VariantTarget(model, Path(corpus[0]), corpus[1], options, int(args.memory_gib * 2**30))
    if (args.data / "variants").is_dir():
        raise InputError("A corpus has several variants", where=str(args.data), expected="--variant with a corpus")
    target = FileTarget(model, args.data, options)
    print(target, flush=True)
    return target


def _changes(text: str) -> dict[str, Any]:
    try:
        changes = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("--set is not valid JSON", expected='{"epochs": 20}', found=f"{text} ({error})") from error
    if not isinstance(changes, dict):
        raise InputError("--set is not a JSON object", expected='{"epochs": 20}', found=text)
    return changes
