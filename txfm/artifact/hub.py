"""Models on the Hugging Face Hub, through huggingface_hub (extra `hub`), which is imported on first use."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from txfm.artifact.format import NAMES, is_finished
from txfm.artifact.read import read_artifact
from txfm.errors import InputError
from txfm.files import flush_to_disk, temporary_beside

ADDRESS = "hf://"
REPOSITORY = re.compile(r"(?:hf://)?(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def download(source: str) -> Path:
    """Bring a model into the cache of huggingface_hub; return its folder there.

    Only the files of a model are ever asked for. What was downloaded before is not downloaded again, and an
    interrupted download goes on.

    Parameters
    ----------
    source : str
        ``hf://ORG/NAME``, with ``@REVISION`` after it for a branch, tag or commit other than the newest.

    Raises
    ------
    InputError
        The address is wrong, nothing answers, there is no such repository, or huggingface_hub is not installed.
    """
    repository, revision = _parsed(source)
    hub = _huggingface_hub()
    with _told_plainly(hub, f"{ADDRESS}{repository}"):
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=list(NAMES)))


def pull(source: str, out: Path) -> None:
    """Download a model into a folder of its own, after every sum of it was compared.

    Parameters
    ----------
    source : str
        As for `download`; ``hf://`` may be left out.
    out : Path
        Must hold no model yet.

    Raises
    ------
    InputError
        See `download` and `txfm.artifact.read_artifact`; or there is a model in `out`.
    """
    if is_finished(out):
        raise InputError("There is a model in the output folder already", where=str(out), todo="choose another --out")
    cached = download(source)
    temporary = temporary_beside(out)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        for name in NAMES:
            if (cached / name).is_file():
                shutil.copyfile(cached / name, temporary / name)  # the cache has links
                flush_to_disk(temporary / name)
        read_artifact(temporary)
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def push(folder: Path, repository: str, private: bool = False) -> str:
    """Upload a model as one commit; the repository is made if there is none.

    Parameters
    ----------
    folder : Path
        Its sums are compared first.
    repository : str
        ``ORG/NAME``.
    private : bool
        Of a repository that is made.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    InputError
        The folder holds no sound model, the name is wrong, the Hub refuses (no token, no right), or huggingface_hub is
        not installed.
    """
    read_artifact(folder)
    name, revision = _parsed(repository)
    if revision is not None:
        raise InputError("A model is pushed to the newest revision", expected="ORG/NAME", found=repository)
    hub = _huggingface_hub()
    with _told_plainly(hub, f"{ADDRESS}{name}"):
        hub.create_repo(name, private=private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(NAMES), commit_message=f"Upload {folder.name}"
        )
    return str(commit.commit_url)


def _parsed(source: str) -> tuple[str, str | None]:
    found = REPOSITORY.fullmatch(source)
    if found is None:
        raise InputError(
            "This is no address of a model on the Hub", expected="hf://ORG/NAME or hf://ORG/NAME@REVISION", found=source
        )
    return found["repository"], found["revision"]


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            "Models on the Hugging Face Hub need the package huggingface_hub",
            found=str(error),
            todo="pip install 'diverserna[hub]', or pip install huggingface_hub",
        ) from error
    return huggingface_hub


@contextmanager
def _told_plainly(hub: ModuleType, where: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one message."""
    try:
        yield
    except (hub.errors.HTTPError, hub.errors.HFValidationError, OSError) as error:
        raise InputError(
            "The Hub did not do what it was asked",
            where=where,
            found=" ".join(str(error).split()),
            todo="check name and network; pushing and private models need a token: `hf auth login`, or HF_TOKEN",
        ) from error
