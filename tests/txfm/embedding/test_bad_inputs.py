"""Wrong inputs, as real files through the real command: a message with advice, code 2, and nothing written."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
import zarr

from txfm.__main__ import main
from txfm.pretrained import PretrainedModel


@dataclass(frozen=True, kw_only=True)
class Case:
    """Files to work with."""

    cells: ad.AnnData
    folder: Path
    model: Path

    def h5ad(self) -> Path:
        """The cells as they are now."""
        path = self.folder / "in.h5ad"
        self.cells.write_h5ad(path)
        return path

    def with_x(self, x: Any) -> Path:
        """Other values in X, whatever anndata thinks of them."""
        path = self.h5ad()
        with h5py.File(path, "r+") as file:
            del file["X"]
            file["X"] = x
            file["X"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        return path

    def text(self, name: str, text: str) -> Path:
        """A text file."""
        (self.folder / name).write_text(text)
        return self.folder / name

    def mtx(self, size: str = "56 2 3", n_barcodes: int = 2) -> Path:
        """A folder of Cell Ranger's three files."""
        names = [name for name in self.cells.var_names if name.startswith("ENSG00000000")]
        folder = self.folder / "mtx"
        folder.mkdir()
        (folder / "features.tsv").write_text("".join(f"{name}\t{name}\n" for name in names))
        (folder / "barcodes.tsv").write_text("".join(f"c{i}\n" for i in range(n_barcodes)))
        text = f"%%MatrixMarket matrix coordinate integer general\n{size}\n1 1 3\n2 1 1\n5 2 7\n"
        (folder / "matrix.mtx").write_text(text)
        return folder


def set_value(value: float) -> Callable[[Case], Path]:
    def make(case: Case) -> Path:
        case.cells.X[5, 7] = value
        return case.h5ad()

    return make


def renamed(names: Callable[[int], str]) -> Callable[[Case], Path]:
    def make(case: Case) -> Path:
        case.cells.var_names = [names(i) for i in range(case.cells.n_vars)]
        return case.h5ad()

    return make


def transformed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], Path]:
    def make(case: Case) -> Path:
        case.cells.X = change(case.cells.X.astype(np.float64) + 1)
        return case.h5ad()

    return make


def mouse_symbols(case: Case) -> Path:
    case.cells.var_names = [f"Gene{i}" for i in range(case.cells.n_vars)]  # the model's symbols are GENE0, GENE1, ...
    return case.h5ad()


def mouse_table(case: Case) -> Path:
    rows = "".join(f"Gene{i},1,2\n" for i in range(50))
    return case.text("mouse.csv", f",c1,c2\n{rows}")


def truncated(case: Case) -> Path:
    content = case.h5ad().read_bytes()
    (case.folder / "in.h5ad").write_bytes(content[: len(content) // 2])
    return case.folder / "in.h5ad"


def damaged_chunk(case: Case) -> Path:
    """A gzip stream inside the file is overwritten."""
    path = case.folder / "in.h5ad"
    case.cells.write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["X"].id.get_chunk_info(0)
    with path.open("r+b") as handle:
        handle.seek(chunk.byte_offset)
        handle.write(b"\xff" * chunk.size)
    return path


def contradicting(case: Case) -> Path:
    case.cells.X = sp.csr_matrix(case.cells.X)
    path = case.h5ad()
    with h5py.File(path, "r+") as file:
        file["X/indices"][3] = 1000
    return path


def zarr_without_x(case: Case) -> Path:
    path = case.folder / "in.zarr"
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        ad.io.write_elem(zarr.open_group(path, mode="w", zarr_format=3), "/", case.cells)
    shutil.rmtree(path / "X")
    return path


def damaged_zarr_chunk(case: Case) -> Path:
    path = case.folder / "in.zarr"
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
        ad.io.write_elem(zarr.open_group(path, mode="w", zarr_format=3), "/", case.cells)
    (chunk,) = (file for file in (path / "X").rglob("*") if file.is_file() and file.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes()[:-9])
    return path


def without_x(case: Case) -> Path:
    ad.AnnData(obs=case.cells.obs, var=case.cells.var).write_h5ad(case.folder / "in.h5ad")
    return case.folder / "in.h5ad"


def other_dimensions(case: Case) -> Path:
    path = case.h5ad()
    with h5py.File(path, "r+") as file:
        x = file["X"][:, :-1]
        del file["X"]
        file["X"] = x
    return path


def cut_gzip(case: Case) -> Path:
    lines = "".join(f"c{i}," + ",".join("1" * 56) + "\n" for i in range(200))
    names = [name for name in case.cells.var_names if name.startswith("ENSG00000000")]
    content = gzip.compress((",".join(["", *names]) + "\n" + lines).encode())
    (case.folder / "cut.csv.gz").write_bytes(content[:-20])
    return case.folder / "cut.csv.gz"


def table(*rows: str, header: str | None = None) -> Callable[[Case], Path]:
    def make(case: Case) -> Path:
        names = [name for name in case.cells.var_names if name.startswith("ENSG00000000")]
        lines = [header if header is not None else ",".join(["", *names]), *rows]
        return case.text("in.csv", "\n".join(lines) + "\n")

    return make


def csv_file(case: Case, name: str = "in.csv") -> Path:
    case.cells.to_df().to_csv(case.folder / name)
    return case.folder / name


def rounded_tpm(x: np.ndarray) -> np.ndarray:
    return np.rint(x / x.sum(axis=1, keepdims=True) * 1e6)


ROW = "c1," + ",".join(["1"] * 56)
# name -> (what makes the input, further options, what the message says)
CASES: dict[str, tuple[Callable[[Case], Path], list[str], str]] = {
    "no such file": (lambda case: case.folder / "none.h5ad", [], "no such input"),
    "an empty file": (lambda case: case.text("in.h5ad", ""), [], "input is empty.*0 bytes"),
    "an empty table": (lambda case: case.text("in.csv", ""), [], "input is empty"),
    "a header alone": (table(), [], "table has no row"),
    "an empty folder": (lambda case: case.folder, [], "folder holds no input"),
    "an error page named h5ad": (lambda case: case.text("in.h5ad", "<html>404</html>"), [], "not an HDF5 file.*<html"),
    "an unknown kind": (lambda case: case.text("in.rds", "RDX3"), [], r"kind is unknown.*\.h5ad"),
    "a truncated h5ad": (truncated, [], "cannot be read.*truncated"),
    "a damaged chunk": (damaged_chunk, [], "cannot be read.*copy or download"),
    "a damaged zarr chunk": (damaged_zarr_chunk, [], "cannot be read.*copy or download"),
    "an h5ad of obs and var alone": (without_x, [], "no X in this file.*matrix of raw counts"),
    "another HDF5 file": (lambda case: _hdf5(case), [], "no X in this file.*weights"),
    "a sparse matrix that contradicts itself": (contradicting, [], "contradicts itself.*1,000"),
    "other dimensions than obs and var": (other_dimensions, [], "does not fit its tables.*37 x 57"),
    "a zarr store without X": (zarr_without_x, [], "no X in this file"),
    "zero cells": (lambda case: _some(case, slice(0, 0), slice(None)), [], "no samples.*0 samples x 58 genes"),
    "zero genes": (lambda case: _some(case, slice(None), slice(0, 0)), [], "no genes.*37 samples x 0 genes"),
    "no gene of the model": (renamed(lambda i: f"unknown {i}"), [], "Too few of the model's genes.*0.0%.*unknown 0"),
    "too few genes of the model": (lambda case: _some_known(case, 10), [], "Too few.*17.9%.*min-matched-share"),
    "duplicate genes that are not the model's": (renamed(lambda i: "same"), [], "Too few.*same, same, same"),
    "mouse ids": (renamed(lambda i: f"ENSMUSG{i:011d}"), [], "not human.*looks like mouse .58 of 58.*orthologues"),
    "mouse symbols": (mouse_symbols, ["--min-matched-share", "0"], "not human.*looks like mouse or rat.*orthologues"),
    "a table of mouse symbols": (mouse_table, [], "Neither.*looks like mouse or rat.*orthologues"),
    "zebrafish ids": (renamed(lambda i: f"ENSDARG{i:011d}"), [], "not human.*zebrafish"),
    "symbols in small letters": (renamed(lambda i: f"gene{i}"), [], "not human.*small letters"),
    "log1p values": (transformed(np.log1p), [], "not raw counts.*log-transformed"),
    "log1p of CP10k": (
        transformed(lambda x: np.log1p(x / x.sum(axis=1, keepdims=True) * 1e4)),
        [],
        "log-transformed: exp.x. - 1 adds up to 10,000 in every sample",
    ),
    "log1p of CP10k as expected counts": (
        transformed(lambda x: np.log1p(x / x.sum(axis=1, keepdims=True) * 1e4)),
        ["--allow-fractional"],
        "no two samples have one total.*log-transformed: exp.x. - 1 adds up to 10,000 in every sample",
    ),
    "CP10k as expected counts": (
        transformed(lambda x: x / x.sum(axis=1, keepdims=True) * 1e4),
        ["--allow-fractional"],
        "normalised.*10,000 in every sample",
    ),
    "sums of base coverage": (
        transformed(lambda x: np.round(x * 1e7)),
        [],
        "more counts than a sequenced library.*median of at most 300,000,000.*recount3.*--allow-deep",
    ),
    "CP10k": (transformed(lambda x: x / x.sum(axis=1, keepdims=True) * 1e4), [], "normalised.*10,000 in every sample"),
    "TPM": (transformed(lambda x: x / x.sum(axis=1, keepdims=True) * 1e6), [], "normalised.*1,000,000 in every sample"),
    "rounded TPM": (transformed(rounded_tpm), [], "rounded TPM or CPM"),
    "scaled values": (transformed(lambda x: (x - x.mean(axis=0)) / x.std(axis=0)), [], "scaled or centred"),
    "NaN": (set_value(np.nan), [], "NaN or infinity.*1 such"),
    "infinity": (set_value(np.inf), [], "NaN or infinity"),
    "negative": (set_value(-3), [], "smallest value -3"),
    "a count beyond 32 bits": (set_value(3e9), [], r"at most 2,147,483,647.*3,000,000,000"),
    "64-bit integers that would overflow": (
        lambda case: case.with_x(np.full((37, 58), 2**62, dtype=np.int64)),
        [],
        "4,611,686,018,427,387,904",
    ),
    "half precision that overflowed": (
        lambda case: case.with_x(np.full((37, 58), np.inf, dtype=np.float16)),
        [],
        "NaN or infinity.*float32",
    ),
    "complex numbers": (lambda case: case.with_x(np.ones((37, 58), dtype=np.complex64)), [], "type complex64"),
    "truth values": (lambda case: case.with_x(np.ones((37, 58), dtype=bool)), [], "does not hold counts.*type bool"),
    "texts": (lambda case: case.with_x(np.full((37, 58), "1", dtype="S1")), [], r"does not hold counts.*\|S1"),
    "objects": (lambda case: case.with_x(np.full((37, 58), "1", dtype=object)), [], "does not hold counts.*object"),
    "one dimension": (lambda case: case.with_x(np.ones(37)), [], r"no matrix.*\(37,\)"),
    "no such layer": (lambda case: case.h5ad(), ["--counts", "layers/umi"], "no layers/umi.*found: X.*--counts X"),
    "a layer of a table": (csv_file, ["--counts", "raw"], "no raw in this input.*one matrix"),
    "no such model layer": (lambda case: case.h5ad(), ["--layer", "counts"], "no such layer.*block1.*layers/NAME"),
    "no such gene column": (lambda case: case.h5ad(), ["--gene-column", "ids"], "no such gene column.*index"),
    "a measured column of texts": (lambda case: _measured(case), [], "`measured` of var cannot be used"),
    "a share above 1": (lambda case: case.h5ad(), ["--min-matched-share", "30"], "from 0 to 1.*30"),
    "genes in words": (lambda case: case.h5ad(), ["--genes", "many"], "--genes cannot be used"),
    "a batch in words": (lambda case: case.h5ad(), ["--batch-size", "big"], "--batch-size cannot be used.*auto"),
    "a key that is a path": (lambda case: case.h5ad(), ["--key", "a/b"], "--key cannot be used.*a/b"),
    "masks of all genes": (lambda case: case.h5ad(), ["--n-masks", "4"], "number of masks"),
    "chunks of no row": (lambda case: case.h5ad(), ["--chunk-rows", "0"], "chunk cannot be used"),
    "an unknown device": (lambda case: case.h5ad(), ["--device", "gpu0"], "no such device.*cuda:N.*gpu0"),
    "an unknown precision": (lambda case: case.h5ad(), ["--precision", "fp8"], "precision is unknown.*float32 or bf16"),
    "a header with a field too many": (table(ROW, header="a,b,c"), [], "header does not fit.*line 2 has 57 fields"),
    "a row with a field too few": (table(ROW, ROW[:-2]), [], "header does not fit.*line 3 has 56 fields"),
    "a word among the numbers": (table(ROW, ROW.replace("c1,1", "c2,NA")), [], "cannot be read.*'NA'"),
    "an empty field": (table(ROW, ROW.replace("c1,1", "c2,")), [], "cannot be read"),
    "a column of labels": (table(ROW.replace("c1,1", "c1,T cell")), [], "cannot be read.*T cell.*column of labels"),
    "a cut gzip": (cut_gzip, [], "ends early or is damaged"),
    "a matrix of other dimensions than its lists": (
        lambda case: case.mtx("56 3 3"),
        [],
        "does not fit its lists.*56 x 3",
    ),
    "a matrix with fewer entries than stated": (lambda case: case.mtx("56 2 9"), [], "ends early.*9 entries.*found: 3"),
    "a matrix with an entry outside": (lambda case: _outside(case), [], "outside the matrix.*rows 1 to 60"),
    "a matrix that is none": (lambda case: _no_matrix(case), [], "not a Matrix Market file"),
    "a matrix without its barcodes": (lambda case: _without_barcodes(case), [], "barcodes is missing.*barcodes.tsv.gz"),
    "an output in a missing folder": (
        lambda case: case.h5ad(),
        ["--out", "{folder}/no/e.h5ad"],
        "folder .* does not exist",
    ),
    "an output of an unknown kind": (
        lambda case: case.h5ad(),
        ["--out", "{folder}/e.xlsx"],
        "output's kind is unknown",
    ),
    "an output that is the input": (
        lambda case: case.h5ad(),
        ["--out", "{folder}/in.h5ad", "--force"],
        "change the input",
    ),
    "an output that exists": (lambda case: _existing(case), ["--out", "{folder}/e.npy"], "exists already.*--force"),
    "an output within the model": (lambda case: case.h5ad(), ["--out", "{model}/e.npy"], "change the input"),
    "a list of misses that is no csv": (
        lambda case: case.h5ad(),
        ["--misses", "{folder}/m.txt"],
        "kind is unknown.*csv",
    ),
    "no such corpus": (lambda case: case.folder / "variants" / "x.json", [], "no such input"),
}


def _hdf5(case: Case) -> Path:
    with h5py.File(case.folder / "in.h5ad", "w") as file:
        file["weights"] = np.ones(3)
    return case.folder / "in.h5ad"


def _some(case: Case, rows: slice, columns: slice) -> Path:
    case.cells[rows, columns].copy().write_h5ad(case.folder / "in.h5ad")
    return case.folder / "in.h5ad"


def _some_known(case: Case, n: int) -> Path:
    known = [name for name in case.cells.var_names if name.startswith("ENSG00000000")][:n]
    case.cells[:, known].copy().write_h5ad(case.folder / "in.h5ad")
    return case.folder / "in.h5ad"


def _existing(case: Case) -> Path:
    case.text("e.npy", "something")
    return case.h5ad()


def _measured(case: Case) -> Path:
    case.cells.var["measured"] = "False"
    return case.h5ad()


def _outside(case: Case) -> Path:
    folder = case.mtx()
    text = (folder / "matrix.mtx").read_text().replace("5 2 7", "60 2 7")
    (folder / "matrix.mtx").write_text(text)
    return folder


def _no_matrix(case: Case) -> Path:
    folder = case.mtx()
    (folder / "matrix.mtx").write_text("%%MatrixMarket matrix array real general\n2 2\n1\n1\n1\n1\n")
    return folder


def _without_barcodes(case: Case) -> Path:
    folder = case.mtx()
    (folder / "barcodes.tsv").unlink()
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_ends_with_a_message_and_code_2_and_leaves_nothing(
    name: str, cells: ad.AnnData, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, options, says = CASES[name]
    (tmp_path / "work").mkdir()
    path = make(Case(cells=cells, folder=tmp_path / "work", model=model_folder))
    before = sorted((tmp_path / "work").rglob("*"))
    options = [option.format(folder=tmp_path / "work", model=model_folder) for option in options]
    out = [] if "--out" in options else ["--out", str(tmp_path / "e.h5ad")]
    device = [] if "--device" in options else ["--device", "cpu"]
    code = main(["embed", str(model_folder), str(path), *out, *options, *device, "--threads", "1"])
    message = capsys.readouterr().err
    assert code == 2, message
    assert re.search(says, message, flags=re.DOTALL), message
    assert message.startswith("error: ")
    assert any(f"  {label}: " in message for label in ("where", "expected", "found")), message
    assert sorted((tmp_path / "work").rglob("*")) == before
    assert [each.name for each in tmp_path.iterdir()] == ["work"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: shutil.rmtree(folder), "no trained model"),
        (lambda folder: (folder / "model.json").unlink(), "no trained model"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 64), "model.safetensors"),
        (lambda folder: (folder / "model.json").write_text('{"format": "other"}'), "format cannot be read"),
    ],
)
def test_a_model_that_is_missing_or_damaged_is_refused(
    damage: Callable[[Path], Any],
    says: str,
    cells: ad.AnnData,
    model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(model_folder, tmp_path / "model")
    damage(tmp_path / "model")
    cells.write_h5ad(tmp_path / "in.h5ad")
    command = ["embed", str(tmp_path / "model"), str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "e.h5ad")]
    assert main([*command, "--device", "cpu"]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "e.h5ad").exists()


@pytest.mark.parametrize("given", [[], ["--corpus", "c"], ["in.h5ad", "--corpus", "c", "--variant", "v"]])
def test_a_command_that_does_not_say_what_to_embed_is_refused(
    given: list[str], model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(model_folder), *given, "--out", str(tmp_path / "e.h5ad")]) == 2
    assert "does not say what to embed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["log1p values", "a truncated h5ad", "mouse ids"])
def test_a_process_of_its_own_ends_with_code_2_and_no_traceback(
    name: str, cells: ad.AnnData, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    path = CASES[name][0](Case(cells=cells, folder=tmp_path / "work", model=model_folder))
    command = [sys.executable, "-m", "txfm", "embed", str(model_folder), str(path), "--out", str(tmp_path / "e.h5ad")]
    done = subprocess.run([*command, "--threads", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["work"]


def test_what_looks_wrong_and_is_not_is_embedded(model: PretrainedModel, cells: ad.AnnData) -> None:
    """One cell, expected counts on demand, few genes on demand, counts of one depth."""
    assert model.embed(cells[:1]).shape == (1, 16)
    expected = cells.copy()
    expected.X = cells.X + 0.25
    assert model.embed(expected, allow_fractional=True).shape == (37, 16)
    deep = cells.copy()
    deep.X = cells.X * 1e6
    assert model.embed(deep, allow_deep=True).shape == (37, 16)
    few = cells[:, [name for name in cells.var_names if name.startswith("ENSG00000000")][:4]]
    assert model.embed(few, min_matched_share=0.05).shape == (37, 16)
    thinned = cells.copy()
    thinned.X = np.random.default_rng(0).multinomial(300, np.full(58, 1 / 58), size=37).astype(np.float32)
    assert model.embed(thinned).shape == (37, 16)
