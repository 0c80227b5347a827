"""What is imported when, counted in a fresh interpreter: who only embeds does not wait for the reader's compiler."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from txfm.artifact.format import FORMAT_VERSION

GOLDEN = Path(__file__).parents[1] / "golden" / "models" / FORMAT_VERSION

PROGRAM = """
import json, sys
from pathlib import Path

import txfm

def are_imported():
    return [name in sys.modules for name in ("txfm.corpus", "numba")]

told = {}
model = txfm.load(sys.argv[1])
told["load"] = are_imported()

import anndata, numpy, pandas
from txfm.__main__ import main

cells = str(Path(sys.argv[2]) / "cells.h5ad")
genes = pandas.DataFrame(index=list(model.vocabulary.ensembl_ids))
anndata.AnnData(numpy.ones((3, len(genes)), dtype="float32"), var=genes).write_h5ad(cells)
model.embed(cells)
told["embed"] = are_imported()
assert main(["embed", sys.argv[1], cells, "--out", cells + ".npy", "--device", "cpu"]) == 0
told["command"] = are_imported()

import txfm.corpus
from txfm.corpus.kernels import narrow

told["corpus"] = are_imported()
told["compiled"] = len(narrow.signatures)
print(json.dumps(told))
"""


@pytest.mark.parametrize("kind", ["txfm", "pca"])
def test_loading_and_embedding_do_not_import_the_reader_whose_compiler_starts_with_it(
    kind: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(GOLDEN / kind), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    neither = [False, False]
    assert told == {"load": neither, "embed": neither, "command": neither, "corpus": [True, True], "compiled": 1}
