"""``python -m txfm embed``."""

import argparse
import warnings
from pathlib import Path

from txfm.errors import InputError

EMBEDDING_KEY = "X_txfm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("model", help="folder of a trained model or a fitted baseline, or hf://ORG/NAME")
    parser.add_argument("input", type=Path, help=".h5ad file or .zarr store of raw counts")
    parser.add_argument("--out", type=Path, required=True, help=f".h5ad with obs, var and obsm[{EMBEDDING_KEY!r}]")
    parser.add_argument("--layer", help="layer with the raw counts (default X)")
    parser.add_argument("--gene-column", help="column of var with Ensembl ids or symbols (default: found)")
    parser.add_argument("--genes", default="all", help="'all' or how many measured genes to show (default all)")
    parser.add_argument("--min-matched-share", type=float, default=0.3, help="of the model's genes (default 0.3)")
    parser.add_argument("--allow-fractional", action="store_true", help="accept expected counts")
    parser.add_argument("--batch-size", type=int, help="samples per forward pass (default: from memory)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")


def run(args: argparse.Namespace) -> None:
    """Embed one file."""
    import anndata

    from txfm.embed import EmptySampleWarning
    from txfm.files import flush_to_disk, temporary_beside
    from txfm.hardware import choose_hardware
    from txfm.loading import load

    hardware = choose_hardware(args.device, "float32", args.threads)
    print(hardware, flush=True)
    model = load(args.model, str(hardware.device))
    adata = _open(args.input)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptySampleWarning)  # printed as a line
        embeddings = model.embed(
            adata,
            layer=args.layer,
            genes=args.genes if args.genes == "all" else _whole_number(args.genes),
            gene_column=args.gene_column,
            min_matched_share=args.min_matched_share,
            allow_fractional=args.allow_fractional,
            batch_size=args.batch_size,
        )
    result = anndata.AnnData(obs=adata.obs, var=adata.var, obsm={EMBEDDING_KEY: embeddings})
    temporary = temporary_beside(args.out)
    result.write_h5ad(temporary)
    flush_to_disk(temporary)
    temporary.rename(args.out)
    print(f"wrote {args.out}: {result.n_obs:,} samples, {embeddings.shape[1]} dimensions")


def _open(path: Path):  # type: ignore[no-untyped-def]  # anndata is imported late, so that --help stays fast
    import anndata

    if not path.exists():
        raise InputError("There is no such input", where=str(path))
    if path.suffix == ".h5ad":
        return anndata.read_h5ad(path, backed="r")
    if path.suffix == ".zarr":
        return anndata.read_zarr(path)
    raise InputError("The input's kind is unknown", where=str(path), expected=".h5ad or .zarr", found=path.suffix)


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise InputError("--genes cannot be used", expected="'all' or a number", found=text)
    return int(text)
