"""`txfm.load`: any kind of model, from a folder or from the Hugging Face Hub."""

from pathlib import Path

from txfm.artifact import Artifact, read_artifact
from txfm.artifact.hub import ADDRESS, download
from txfm.baselines.model import Baseline
from txfm.embedder import Embedder
from txfm.hardware import choose_device
from txfm.pretrained import KIND, PretrainedModel


def load(source: str | Path, device: str = "cpu", verify: bool = True) -> Embedder:
    """Open a trained model or a fitted baseline.

    Parameters
    ----------
    source : path or str
        Folder with model.safetensors and model.json; or ``hf://ORG/NAME``, with ``@REVISION`` after it if not the
        newest, which is downloaded once into the cache of huggingface_hub (extra `hub`).
    device : str
        Where to put the weights of a TxFM: auto, cpu, cuda, cuda:1; baselines compute on the CPU.
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
        and json do not belong together; there is no such device; nothing answers at the Hub, or huggingface_hub is not
        installed.
    """
    return model_of(find_artifact(source, verify), device)


def find_artifact(source: str | Path, verify: bool = True) -> Artifact:
    """The description of what `load` opens, without its weights; parameters and errors as there."""
    return read_artifact(download(str(source)) if str(source).startswith(ADDRESS) else Path(source), verify)


def model_of(artifact: Artifact, device: str = "cpu") -> Embedder:
    """The model of `find_artifact`, with its weights; errors as for `load`."""
    if artifact.card["kind"] != KIND:
        return Baseline.of(artifact)
    return PretrainedModel.of(artifact, str(choose_device(device)))
