"""``python -m txfm embed-corpus``."""

import argparse
import warnings
from pathlib import Path

COLUMNS = ("study", "split", "batch", "perturbation", "cell_type", "cell_line", "simulated")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("model", help="folder of a trained model or a fitted baseline, or hf://ORG/NAME")
    parser.add_argument("--corpus", type=Path, required=True, help="corpus folder")
    parser.add_argument("--variant", required=True, help="whose samples to embed, training and validation")
    parser.add_argument(
        "--out", type=Path, required=True, help=f".parquet: sample_id, {', '.join(COLUMNS)}, e0, e1, ..."
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")


def run(args: argparse.Namespace) -> None:
    """Embed a variant."""
    from txfm.embed import EmptySampleWarning
    from txfm.embed_corpus import embed_corpus
    from txfm.hardware import choose_hardware
    from txfm.loading import load

    hardware = choose_hardware(args.device, "float32", args.threads)
    print(hardware, flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptySampleWarning)  # printed as a line
        n_samples = embed_corpus(load(args.model, str(hardware.device)), args.corpus, args.variant, args.out)
    print(f"wrote {args.out}: {n_samples:,} samples")
