"""The table of sources, and who may train on what in the configs that ship."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curation.config import merge, read_config
from curation.errors import InputError
from curation.plan import Plan, read_plan
from curation.sources import chosen_sources, print_sources, sources_table

ROOT = Path(__file__).parents[2]
WIDEST = 160


def plan(*overlays: str, **changes: Any) -> Plan:
    """The plan of config.yaml with configs and changes merged over it."""
    config = read_config([ROOT / "config.yaml", *(ROOT / name for name in overlays)])
    return read_plan(merge(config, changes), ROOT)


def row(table: str, name: str) -> str:
    """All lines of a source's row as one text with single blanks."""
    lines = table.splitlines()
    first = next(i for i, line in enumerate(lines) if line.split(" ")[0] == name)
    last = next(i for i in range(first + 1, len(lines)) if not lines[i].startswith("  "))
    return " ".join(" ".join(lines[first:last]).split())


def names(table: str) -> list[str]:
    """The sources of a table, in its order."""
    rows = table.split("\n\n")[0].splitlines()[1:]
    return [line.split()[0] for line in rows if not line.startswith(" ")]


def test_by_default_the_table_holds_what_the_config_selects() -> None:
    selected = plan()
    table = sources_table(selected)
    assert set(names(table)) == set(selected.sources)
    assert len(names(table)) == 9 + 3 + 3
    assert "not selected" not in table
    assert "15 sources selected; to fetch: 17 files" in table


def test_the_whole_table_adds_what_the_config_does_not_select() -> None:
    whole = plan()
    table = sources_table(whole, whole=True)
    assert len(names(table)) == 9 + 8 + 4 + 6
    assert "evaluation, not selected" in row(table, "pbmc_12k")
    assert "reference, not selected" in row(table, "reactome")
    assert row(table, "ensembl_history").startswith("ensembl_history annotation 4 ")
    assert "not selected" not in row(table, "rpe1")
    assert "NON-COMMERCIAL" in row(table, "corum")
    assert "NON-COMMERCIAL" not in row(table, "string")
    assert "Not for commercial use: corum, signor." in table


@pytest.mark.parametrize("whole", [False, True])
def test_no_line_is_wider_than_a_wide_terminal(whole: bool) -> None:
    assert max(map(len, sources_table(plan(), whole=whole).splitlines())) <= WIDEST


def test_facts_that_are_not_verified_are_named_with_their_trust() -> None:
    table = sources_table(plan())
    gastric = row(table, "gastric_metaplasia")
    for words in ("unverified: expected, size, title;", "secondary: address, licence, matrix, obs;", "no checksum"):
        assert words in gastric
    assert "secondary: sha256" in row(table, "mixseq")
    assert " 8.7 GB 8.7 GB - CC BY 4.0" in row(table, "rpe1")


def test_sizes_that_are_rough_or_unknown_look_so() -> None:
    table = sources_table(plan())
    assert " 65.8 GB " in row(table, "replogle_k562")
    assert " ~47 GB " in row(table, "tcga")
    assert " ? ? " in row(table, "gtex")
    assert "108 GB known, about 47 GB more, 6 files of unknown size" in table


def test_an_archive_takes_the_disk_of_its_members_too(tmp_path: Path) -> None:
    (tmp_path / "sheet.yaml").write_text(
        """
studies:
  toy:
    {title: toy, citation: {year: 2020, text: toy}, licence: CC0, role: train, publication_key: [toy, toy], assay: sc,
     count_kind: umi, gene_ids: symbol, obs: {},
     parts: [{name: all, format: h5ad, files: {matrix: toy.h5ad}}],
     files: {toy.zip: {addresses: ["https://example.org/toy.zip"], size: 2000},
             toy.h5ad: {archive: toy.zip, member: a/toy.h5ad, size: 5000}}}
annotation:
  axis: {format: gene_table_csv, licence: x, files: {a.csv: {addresses: ["file:a.csv"], size: 1}}}
"""
    )
    config = {
        "name": "toy",
        "catalogs": {"toy": "sheet.yaml"},
        "gene_axis": {"annotation": "axis"},
        "select": {"variants": ["all"]},
        "recipes": {"plain": {}},
        "variants": {"all": {"studies": {"toy": "plain"}}},
        "models": {},
    }
    table = sources_table(read_plan(config, tmp_path))
    assert " 2 2 kB 7 kB " in row(table, "toy")
    assert "1 files are members of archives" in table


def test_a_simulated_study_is_marked_and_needs_no_download() -> None:
    demo = plan("demo/config.yaml")
    assert "train, simulated 1 - - " in row(sources_table(demo), "simulated_screen")
    (simulated,) = (source for source in chosen_sources(demo) if source.simulated)
    assert simulated.fetched == simulated.on_disk == ()


def test_references_are_fetched_only_where_the_config_names_them() -> None:
    assert {"corum", "signor", "string"}.isdisjoint(plan().sources)
    named = plan(select={"references": ["signor", "ensembl_history"]})
    assert named.references == ("signor", "ensembl_history")
    assert set(named.files("ensembl_history")) == set(named.catalog.references["ensembl_history"].files)
    assert named.sources["signor"]["SIGNOR.txt"].sha256 is not None
    assert named.constraints["source"].count("signor") == 1
    with pytest.raises(InputError, match=r"(?s)unknown reference 'signr'.*select\.references\[0\].*'signor'"):
        plan(select={"references": ["signr"]})


def test_a_history_of_ids_is_no_gene_axis() -> None:
    with pytest.raises(InputError, match="unknown annotation entry 'ensembl_history'"):
        plan(gene_axis={"annotation": "ensembl_history"})


def test_replogle_trains_on_k562_and_is_evaluated_on_rpe1() -> None:
    shipped = plan()
    keys = {name: shipped.catalog.studies[name].publication_key for name in ("replogle_k562", "rpe1")}
    assert keys == {"replogle_k562": ("replogle_2022", "K562"), "rpe1": ("replogle_2022", "RPE1")}
    assert "replogle_k562" in {study for study, _ in shipped.training_pairs}
    assert "rpe1" in shipped.evaluation


def test_replogle_cannot_be_swapped() -> None:
    with pytest.raises(InputError, match="study 'rpe1' is held out"):
        plan(variants={"diverserna_1_4m": {"studies": {"rpe1": "full"}}})
    evaluation = {"studies": {"replogle_k562": "evaluation"}, "labels": {"replogle_k562": "perturbation"}}
    with pytest.raises(InputError, match="study 'replogle_k562' is both trained on and evaluated"):
        plan(evaluation=evaluation, select={"studies_for_evaluation": ["replogle_k562"]})


def test_rpe1_cannot_be_trained_on_under_another_name(tmp_path: Path) -> None:
    sheets = [ROOT / path for path in read_config([ROOT / "config.yaml"])["catalogs"].values()]
    text = (
        sheets[0]
        .read_text()
        .replace("publication_key: [replogle_2022, K562]", "publication_key: [replogle_2022, RPE1]")
    )
    (tmp_path / "swapped.yaml").write_text(text)
    with pytest.raises(InputError, match="training study 'replogle_k562' and held-out study 'rpe1' are the same cells"):
        plan(catalogs={"diverserna": str(tmp_path / "swapped.yaml")})


def test_the_command_prints_the_table_without_loading_what_reads_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    print_sources([Path("config.yaml")], whole=True)
    assert capsys.readouterr().out == sources_table(plan(), whole=True) + "\n"
    program = (
        "import sys; from pathlib import Path; from curation.sources import print_sources\n"
        "print_sources([Path('config.yaml')]); print(sorted({'numpy', 'polars', 'pandas'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
