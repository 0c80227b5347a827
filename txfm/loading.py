"""`txfm.load`: any kind of model, from a folder or from the Hugging Face Hub."""

from pathlib import Path

from txfm.artifact import read_artifact
from txfm.artifact.hub import ADDRESS, download
from txfm.baselines.model import Baseline
from txfm.embedder import Embedder
from txfm.pretrained import KIND, PretrainedModel


def load(source: str | Path, device: str = "cpu", verify: bool = True) -> Embedder:
    """Open a trained model or a fitted baseline.

    Parameters
    ----------
    source : path or str
        Folder with model.safetensors and model.json; or ``hf://ORG/NAME``, with ``@REVISION`` after it if not the
        newest, which is downloaded once into the cache of huggingface_hub (extra `hub`).
    device : str
        Where to put the weights of a TxFM; baselines compute on the CPU.
    verify : bool
        Compare the sha256 of the files with model.json: a second for the 1.6 GB of L.

    Returns
    -------
    Embedder
        `PretrainedModel`, or `txfm.baselines.model.Baseline`: with the same `embed`, `vocabulary` and `card`.

    Raises
    ------
    InputError
        There is no model, it holds a pickle, its format cannot be read, a file is not as model.json says, or weights
        and json do not belong together; nothing answers at the Hub, or huggingface_hub is not installed.
    """
    folder = download(str(source)) if str(source).startswith(ADDRESS) else Path(source)
    artifact = read_artifact(folder, verify)
    if artifact.card["kind"] == KIND:
        return PretrainedModel.of(artifact, device)
    return Baseline.of(artifact)
