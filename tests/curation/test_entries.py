"""What is wrong in the JSON of the command line, or has nothing in it, is told and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import polars as pl
import pytest

from curation.__main__ import main
from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.catalog import Study, read_catalog
from curation.errors import InputError
from curation.qc import read_phenoprints
from curation.recipe import Recipe

IDS = [f"ENSG{i:011d}" for i in range(60)]
SPLIT = '{"validation_share": 0.1, "seed": 0}'


@pytest.fixture
def genes(tmp_path: Path) -> Path:
    names = pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))
    table = pl.DataFrame({"ensembl_id": IDS, "symbol": "", "biotype": "", "chromosome": ""})
    GeneAxis(genes=table, names=names).write(tmp_path / "genes.parquet")
    return tmp_path / "genes.parquet"


@pytest.fixture
def told(genes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make_study: Callable[..., Study]) -> Any:
    """Run curate, changed in some options, which must end with 2; return its message."""

    def run(counts: np.ndarray | None = None, fields: dict[str, Any] | None = None, **options: str) -> str:
        counts = np.random.default_rng(0).poisson(3, (20, 60)).astype(np.float32) if counts is None else counts
        obs = pd.DataFrame({"batch": "a"}, index=[f"c{i}" for i in range(counts.shape[0])])
        table = ad.AnnData(obs=obs, var=pd.DataFrame(index=IDS[: counts.shape[1]]))
        table.X = counts
        table.write_h5ad(tmp_path / "x.h5ad")
        parts = [{"name": "p", "format": "h5ad", "files": {"matrix": "x.h5ad"}}]
        entry = make_study(**{"parts": parts, "gene_ids": "ensembl", **(fields or {})})
        out = tmp_path / "out"
        given = {
            "study": entry.to_json(),
            "recipe": "{}",
            "recipe-name": "r",
            "split": SPLIT,
            "genes": str(genes),
            "sources": str(tmp_path),
            "train": str(out / "train.zarr"),
            "validation": str(out / "validation.zarr"),
            "report": str(out / "report.json"),
        } | {name.replace("_", "-"): value for name, value in options.items()}
        assert main(["curate", *(text for name, value in given.items() for text in (f"--{name}", value))]) == 2
        assert not out.exists() or not list(out.iterdir())
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("study", "{not json", ["this is not JSON", "where: --study"]),
        ("study", "[]", ["this is no JSON object", "where: --study"]),
        ("study", "{}", ["this is no entry of a study", "KeyError: 'obs'", "do: let the workflow call"]),
        ("recipe", "x", ["this is not JSON", "where: --recipe"]),
        ("recipe", '{"min_gens_per_sample": 3}', ["unknown key", "did you mean 'min_genes_per_sample'?"]),
        ("recipe", '{"min_genes_per_sample": "many"}', ["'many' is not of type 'integer'"]),
        ("recipe", '{"min_genes_per_sample": -4}', ["-4 is less than the minimum of 0"]),
        ("split", '{"validation_share": 0.1}', ["key 'seed' is missing", "where: --split, key seed"]),
        ("split", '{"validation_share": 2, "seed": 0}', ["2 is greater than or equal to the maximum of 1"]),
        ("genes", "nowhere.parquet", ["the gene axis cannot be read", "where: nowhere.parquet", "do: run the genes"]),
    ],
)
def test_a_wrong_option_of_curate_is_told(told: Any, option: str, text: str, words: list[str]) -> None:
    message = told(**{option: text})
    for word in words:
        assert word in message


def test_an_axis_that_is_none_is_told(told: Any, tmp_path: Path) -> None:
    (tmp_path / "other.parquet").write_text("hello")
    assert "the gene axis cannot be read" in told(genes=str(tmp_path / "other.parquet"))
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    assert "found: a\n" in told(genes=str(tmp_path / "other.parquet"))


def test_tables_without_samples_genes_or_counts_are_told(told: Any) -> None:
    assert "there is no sample in the files of this study" in told(np.zeros((0, 60), dtype=np.float32))
    assert "there is no gene in this table" in told(np.zeros((5, 0), dtype=np.float32))
    assert "every count is 0" in told(np.zeros((5, 60), dtype=np.float32))


def test_where_no_sample_is_left_the_advice_names_what_dropped_them(told: Any) -> None:
    message = told(recipe='{"min_genes_per_sample": 61}')
    assert "found: 20 below_min_genes_per_sample\ndo: check the recipe's thresholds\n" in message
    rule = {"column": "batch", "keep": ["b"], "drop": [], "reason": "not_b"}
    assert "found: 20 not_b\ndo: check `filters` of the study\n" in told(fields={"filters": [rule]})


@pytest.mark.parametrize("pattern", ["^c", "^(c"])
def test_a_pattern_that_gives_no_value_is_told(told: Any, pattern: str) -> None:
    message = told(fields={"obs": {"batch": {"pattern": pattern}}})
    assert "this pattern gives no value" in message
    assert "key obs.batch.pattern" in message
    assert pattern in message


def test_patterns_of_the_shipped_sheets_give_values() -> None:
    sheets = Path(__file__).parents[2] / "curation" / "catalog"
    studies = read_catalog([sheets / f"{name}.yaml" for name in ("diverserna", "evaluation")]).studies
    assert {studies[name].obs.batch.pattern is not None for name in ("tcga", "gtex")} == {True}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "what", "found"),
    [
        ("", "cannot be read", "empty CSV"),
        ("<html>\n", "lacks p_value, perturbation", "<html>"),
        ("perturbation\tp\na\t1\n", "lacks p_value", "perturbation, p"),
        ("perturbation\tp_value\na\t0.1\nb\tx\n", "1 p-values of", "b: x"),
        ("perturbation\tp_value\na\tnan\n", "1 p-values of", "a: nan"),
        ("perturbation\tp_value\na\t1.5\n", "1 p-values of", "a: 1.5"),
        ("perturbation\tp_value\na\t0.1\na\t0.01\n", "1 perturbations stand twice", "a"),
    ],
)
def test_a_table_of_phenoprints_that_is_none_is_told(tmp_path: Path, text: str, what: str, found: str) -> None:
    path = tmp_path / "phenoprints.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=what) as caught:
        read_phenoprints(Recipe(perturbations="phenoprint", phenoprints=str(path)))
    assert found in caught.value.found
    assert caught.value.where == str(path)
    assert caught.value.todo


def test_a_perturbation_that_was_not_judged_is_no_phenoprint(tmp_path: Path) -> None:
    path = tmp_path / "phenoprints.tsv"
    path.write_text("perturbation\tp_value\n7\t0.05\nb\t\nc\t0.1\n")
    assert read_phenoprints(Recipe(perturbations="phenoprint", phenoprints=str(path))) == {"7"}
    assert json.loads(Recipe().to_json())["phenoprints"] is None
