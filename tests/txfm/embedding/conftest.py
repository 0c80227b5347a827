"""A small trained model, and cells that it can embed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

import txfm
from txfm.__main__ import main
from txfm.pretrained import PretrainedModel


@pytest.fixture(scope="session")
def model_folder(tiny_corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    entry = {"preset": "nano", "width": 16, "n_visible_genes": 12, "samples_seen": 200, "batch_size_samples": 16}
    options = ["--corpus", str(tiny_corpus.folder), "--variant", "tiny", "--model", json.dumps(entry), "--seed", "0"]
    options += ["--out", str(folder / "tiny.nano.s0"), "--checkpoints", str(folder / "checkpoints"), "--threads", "1"]
    assert main(["train", *options, "--device", "cpu"]) == 0
    return folder / "tiny.nano.s0"


@pytest.fixture(scope="session")
def model(model_folder: Path) -> PretrainedModel:
    torch.set_num_threads(1)
    return txfm.load(model_folder)


@pytest.fixture
def cells(model: PretrainedModel) -> ad.AnnData:
    """Samples with all the vocabulary's genes, shuffled, and two that the model does not know."""
    return make_cells(model)


def make_cells(model: PretrainedModel, n_samples: int = 37) -> ad.AnnData:
    rng = np.random.default_rng(1)
    names = [*model.vocabulary.ensembl_ids, "ENSG00000999999", "spike-in"]
    counts = rng.negative_binomial(1.0, 0.2, (n_samples, len(names))).astype(np.float32)
    order = rng.permutation(len(names))
    obs = pd.DataFrame(
        {"label": [f"label {i}" for i in range(n_samples)]}, index=[f"cell {i}" for i in range(n_samples)]
    )
    return ad.AnnData(counts[:, order], obs=obs, var=pd.DataFrame(index=np.array(names, dtype=object)[order]))
