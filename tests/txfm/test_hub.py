"""Models on the Hugging Face Hub: pushed, pulled and loaded by the real client from a real server on loopback."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from txfm.artifact.format import FORMAT_VERSION
from txfm.artifact.hub import download, push
from txfm.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "models" / FORMAT_VERSION
FILES = {"model.safetensors", "model.json", "metrics.jsonl", "finetune.json", "README.md"}
needs_client = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed (extra `hub`)"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN / "txfm", tmp_path / "mine")


def python(hub: Any, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the Hub at the server's address, which huggingface_hub reads when it is imported."""
    environment = os.environ | hub.environment(str(tmp_path / "cache"))
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_client
def test_a_model_that_is_pushed_pulls_to_the_same_bytes(hub_server: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("stays here")
    (folder / "finetune.json").write_text("{}")  # as if it were fine-tuned
    done = python(hub_server, tmp_path, "-m", "txfm", "push", str(folder), "--repo", "me/mine")
    assert done.returncode == 0, done.stderr
    assert f"{hub_server.endpoint}/me/mine/commit/" in done.stdout
    assert set(hub_server.repositories["me/mine"]) == FILES
    assert len(hub_server.objects) == 1, "the weights go by LFS"

    hub_server.repositories["me/mine"]["pytorch_model.bin"] = b"is never asked for"
    pulled = tmp_path / "pulled"
    pulled.mkdir()
    done = python(hub_server, tmp_path, "-m", "txfm", "pull", "me/mine", "--out", str(pulled))
    assert done.returncode == 0, done.stderr
    (folder / "notes.txt").unlink()
    assert contents(pulled) == contents(folder)
    assert not any("pytorch_model.bin" in request for request in hub_server.requests)


PROGRAM = """
import json, os, sys
from pathlib import Path
import txfm
from txfm.artifact.hub import pull, push

def told(call, *arguments):
    try:
        return str(call(*arguments))
    except txfm.InputError as error:
        return str(error)

here = Path(sys.argv[1])
answers = {
    "loaded": [txfm.load("hf://me/mine" + at).n_dimensions for at in ("", "@main")],
    "damaged": told(pull, "hf://me/damaged", here / "damaged"),
    "other": told(txfm.load, "hf://me/other"),
    "nobody": told(txfm.load, "hf://me/nobody"),
    "revision": told(txfm.load, "hf://me/mine@v9"),
    "silent": told(txfm.load, "hf://me/silent"),
    "there": told(pull, "me/mine", here / "mine"),
}
os.environ["HF_TOKEN"] = "hf_wrong"
answers["token"] = told(push, here / "mine", "me/mine")
print(json.dumps(answers))
"""


@needs_client
def test_loading_by_address_downloads_once_and_every_fault_has_its_message(
    hub_server: Any, folder: Path, tmp_path: Path
) -> None:
    whole = contents(folder)
    damaged = bytearray(whole["model.safetensors"])
    damaged[-1] ^= 1
    hub_server.repositories |= {
        "me/mine": whole,
        "me/damaged": whole | {"model.safetensors": bytes(damaged)},
        "me/other": {"README.md": b"a model of something else"},
    }
    hub_server.silent = "me/silent"
    done = python(hub_server, tmp_path, "-c", PROGRAM, str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["loaded"] == [8, 8]
    gets = [request for request in hub_server.requests if re.match("GET .*model.safetensors", request)]
    assert len(gets) == 2, "one of each repository that has it"
    assert "not the one that model.json names" in told["damaged"]
    assert "no trained model" in told["other"]
    assert "hf://me/nobody" in told["nobody"]
    assert "need a token" in told["nobody"]
    assert "v9" in told["revision"]
    assert "hf://me/silent" in told["silent"]
    assert "already" in told["there"]
    assert "401" in told["token"]
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "cache"}, "nothing half-pulled is left"


def test_an_address_that_is_none_is_told_before_anything_is_sent(folder: Path) -> None:
    for wrong in ("hf://mine", "hf://me/mine/more", "hf://me/mi ne", "hf://"):
        with pytest.raises(InputError, match="hf://ORG/NAME"):
            download(wrong)
    with pytest.raises(InputError, match="newest revision"):
        push(folder, "me/mine@v1")


def test_a_folder_that_is_no_sound_model_is_never_pushed(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="pickle"):
        push(folder, "me/mine")


def test_without_the_client_the_advice_is_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"pip install 'diverserna\[hub\]'"):
        download("hf://me/mine")
    with pytest.raises(InputError, match="huggingface_hub"):
        push(folder, "me/mine")
