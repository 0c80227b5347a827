"""The sheets that ship, the round trip to JSON, and what a wrong sheet is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from curation.acquire.addresses import FORMS, SIMULATE, GdcAddress, WebAddress, parse_address
from curation.catalog import Annotation, Catalog, RemoteFile, Study, read_catalog
from curation.errors import InputError

ROOT = Path(__file__).parents[2]
FULL = [ROOT / f"curation/catalog/{name}.yaml" for name in ("diverserna", "evaluation", "annotation", "references")]
SHEETS = [*FULL, ROOT / "curation/catalog/mini.yaml", ROOT / "demo/catalog.yaml"]
# Table 1 of the paper
TABLE_1 = {
    "replogle_k562": (502_080, 8_248),
    "gbmap": (504_929, 21_310),
    "mixseq": (102_205, 15_438),
    "sciplex": (99_300, 18_486),
    "gastric_metaplasia": (88_399, 16_445),
    "tumor_microenvironment": (71_585, 17_619),
    "breast_cancer": (31_542, 24_712),
    "tcga": (23_733, 19_594),
    "gtex": (10_526, 36_695),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """All sheets together."""
    return read_catalog(SHEETS)


SCREEN = {
    "n_cells": 9,
    "n_genes": 9,
    "n_perturbations": 2,
    "effect_share": 0.5,
    "n_controls": 2,
    "n_batches": 2,
    "seed": 0,
}


def entry(**changes: Any) -> dict[str, Any]:
    """One study of a sheet."""
    fields: dict[str, Any] = {
        "title": "toy",
        "citation": {"doi": None, "year": 2020, "text": "toy"},
        "licence": "CC0",
        "role": "train",
        "publication_key": ["toy", "toy"],
        "assay": "sc",
        "count_kind": "umi",
        "gene_ids": "symbol",
        "obs": {"batch": {"constant": "all"}},
        "parts": [{"name": "all", "format": "h5ad", "files": {"matrix": "toy.h5ad"}}],
        "files": {"toy.h5ad": {"addresses": ["https://example.org/toy.h5ad"]}},
    }
    return fields | changes


def all_files(catalog: Catalog) -> dict[tuple[str, str], RemoteFile]:
    """(entry, path) -> file, over entries of every kind."""
    entries = {**catalog.studies, **catalog.references}
    files = {(name, path): file for name, entry in entries.items() for path, file in entry.files.items()}
    return files | {(table.name, table.file.path): table.file for table in catalog.annotation.values()}


def all_addresses(catalog: Catalog) -> list[str]:
    """Every address of every file and alternative."""
    entries = [*catalog.studies.values(), *catalog.annotation.values(), *catalog.references.values()]
    others = [other["address"] for entry in entries for other in entry.alternatives if "address" in other]
    return [address for file in all_files(catalog).values() for address in file.addresses] + others


def sheet(folder: Path, **studies: Any) -> Path:
    """A sheet on disk."""
    path = folder / "sheet.yaml"
    path.write_text(yaml.safe_dump({"studies": studies}))
    return path


def test_expected_samples_are_those_of_table_1_and_sum_to_1_434_299(catalog: Catalog) -> None:
    found = {}
    for name in TABLE_1:
        expected = catalog.studies[name].expected
        assert expected is not None
        found[name] = (expected["n_samples"], expected["n_genes"])
    assert found == TABLE_1
    assert sum(n_samples for n_samples, _ in found.values()) == 1_434_299


def test_every_study_and_annotation_survives_the_trip_through_json(catalog: Catalog) -> None:
    for study in catalog.studies.values():
        assert Study.from_json(study.to_json()) == study
        for file in study.files.values():
            assert RemoteFile.from_json(file.to_json()) == file
    for table in catalog.annotation.values():
        assert Annotation.from_json(table.to_json()) == table
    for file in all_files(catalog).values():
        assert RemoteFile.from_json(file.to_json()) == file


def test_the_slice_for_curation_keeps_what_decides_the_store_and_nothing_else(catalog: Catalog) -> None:
    study = catalog.studies["replogle_k562"]
    sliced = Study.from_json(study.for_curation().to_json())
    assert (sliced.parts, sliced.obs.columns, sliced.files, sliced.expected) == (
        study.parts,
        study.obs.columns,
        study.files,
        study.expected,
    )
    assert not any([sliced.notes, sliced.title, sliced.alternatives, sliced.status, sliced.citation])
    assert study.obs.guide is not None
    assert sliced.obs.guide is None
    assert "guide" not in json.loads(study.for_curation().to_json())["obs"]


def test_the_guide_of_a_screen_is_known_and_is_no_column_of_a_store(catalog: Catalog) -> None:
    for name in ("replogle_k562", "rpe1", "hepg2", "jurkat"):
        obs = catalog.studies[name].obs
        assert obs.guide is not None
        assert obs.guide.column == "sgID_AB"
        assert "guide" not in obs.columns
        assert {"batch", "perturbation", "cell_line"} <= set(obs.columns)


def test_the_json_of_a_file_names_archive_member_and_rough_size_only_where_they_are_set(catalog: Catalog) -> None:
    files = all_files(catalog)
    assert {"archive", "member", "size_about"}.isdisjoint(
        json.loads(files["rpe1", "rpe1_raw_singlecell_01.h5ad"].to_json())
    )
    member = json.loads(files["pbmc_68k", "fresh_68k/matrix.mtx"].to_json())
    assert member["archive"] == "fresh_68k_pbmc_donor_a_filtered_gene_bc_matrices.tar.gz"
    assert member["member"] == "filtered_matrices_mex/hg19/matrix.mtx"
    assert member["addresses"] == []
    assert json.loads(files["tcga", "star_counts.tsv"].to_json())["size_about"] == 47_000_000_000


def test_a_better_citation_of_a_gene_table_leaves_what_builds_the_axis(catalog: Catalog) -> None:
    table = catalog.annotation["gencode_v46"]
    assert table.citation
    for_axis = json.loads(table.for_axis().to_json())
    assert {"title", "citation", "alternatives", "status"}.isdisjoint(for_axis)
    assert {"title", "citation", "alternatives", "status"}.isdisjoint(for_axis["hgnc"])
    assert for_axis["file"] == json.loads(table.file.to_json())


def test_every_sum_to_avoid_is_refused_by_every_file_of_its_study(catalog: Catalog) -> None:
    n_sums = 0
    for study in catalog.studies.values():
        for entry in study.do_not_use:
            if entry.get("md5"):
                n_sums += 1
                for file in study.files.values():
                    assert entry["why"] in file.refused_md5[entry["md5"]], (study.name, file.path)
    assert n_sums == 4


def test_no_address_leads_to_the_host_that_answers_with_nothing(catalog: Catalog) -> None:
    for address in all_addresses(catalog):
        if address.startswith(f"{SIMULATE}:"):
            continue
        parsed = parse_address(address)
        for url in parsed.urls if isinstance(parsed, WebAddress) else ():
            assert urlsplit(url).hostname not in ("figshare.com", "www.figshare.com"), url


def test_the_schema_knows_the_schemes_that_can_be_parsed() -> None:
    schema = yaml.safe_load((ROOT / "curation/catalog/schema.yaml").read_text())
    pattern = schema["$defs"]["address"]["pattern"]
    assert set(pattern.partition("(")[2].partition(")")[0].split("|")) == {*FORMS, SIMULATE}


def test_the_full_catalogue_has_nine_training_and_eight_held_out_studies() -> None:
    full = read_catalog(FULL)
    roles = {name: study.role for name, study in full.studies.items()}
    assert {name for name, role in roles.items() if role == "train"} == set(TABLE_1)
    assert {name for name, role in roles.items() if role == "evaluation"} == {
        *("rpe1", "hepg2", "jurkat"),
        *("immune_pan_immune", "pancreas_scib", "pbmc_12k", "pbmc_68k", "tabula_sapiens"),
    }
    assert set(full.annotation) == {"gencode_v26", "gencode_v36", "gencode_v46", "hgnc"}
    assert set(full.references["ensembl_history"].files) == {
        f"{table}.txt.gz" for table in ("stable_id_event", "mapping_session", "gene", "gene_archive")
    }


def test_corum_and_signor_are_the_sources_that_forbid_commercial_use(catalog: Catalog) -> None:
    guarded = {name for name, table in catalog.references.items() if table.non_commercial}
    assert guarded == {"corum", "signor"}
    for name, table in catalog.references.items():
        assert ("NC" in table.licence) == (name in guarded)


def test_tcga_is_a_receipt_of_all_open_star_counts_of_the_program(catalog: Catalog) -> None:
    (address,) = catalog.studies["tcga"].files["star_counts.tsv"].addresses
    parsed = parse_address(address)
    assert isinstance(parsed, GdcAddress)
    assert dict(parsed.filters) == {
        "cases.project.program.name": "TCGA",
        "data_type": "Gene Expression Quantification",
        "analysis.workflow_type": "STAR - Counts",
        "access": "open",
    }


def test_the_three_perturbation_screens_are_held_out_under_their_own_keys(catalog: Catalog) -> None:
    keys = {name: catalog.studies[name].publication_key for name in ("rpe1", "hepg2", "jurkat")}
    assert keys == {
        "rpe1": ("replogle_2022", "RPE1"),
        "hepg2": ("nadig_2024", "HepG2"),
        "jurkat": ("nadig_2024", "Jurkat"),
    }
    assert {catalog.studies[name].role for name in keys} == {"evaluation"}


def test_the_normalised_k562_file_is_refused_by_the_file_that_it_resembles(catalog: Catalog) -> None:
    study = catalog.studies["replogle_k562"]
    file = study.files["K562_gwps_raw_singlecell_01.h5ad"]
    assert file.size == 65_830_941_948
    assert "normalised" in file.refused_md5["6cd393e369506849ebf959175989d632"]
    assert file.md5 not in file.refused_md5


def test_only_the_screens_of_the_demonstration_are_simulated(catalog: Catalog) -> None:
    screens = ["simulated_screen", "held_out_screen"]
    assert [name for name, study in catalog.studies.items() if study.simulated] == screens
    assert [name for name, study in catalog.studies.items() if study.simulation] == screens


def test_no_unverified_fact_serves_as_a_checksum(catalog: Catalog) -> None:
    for name, file in all_files(catalog).items():
        for kind, value in (("md5", file.md5), ("sha256", file.sha256), ("size", file.size)):
            if value is not None:
                assert file.status.get(kind) in ("verified", "secondary"), (name, kind)


def test_absent_keys_get_the_defaults_of_the_schema(tmp_path: Path) -> None:
    study = read_catalog([sheet(tmp_path, toy=entry())]).studies["toy"]
    assert (study.organism, study.simulated, study.gene_prefix_keep, study.filters) == ("human", False, None, ())
    assert (study.parts[0].matrix, study.parts[0].gene_column, study.parts[0].constants) == ("auto", None, {})
    assert study.obs.control_labels == ()
    assert list(study.obs.columns) == ["batch"]


def test_a_filter_keeps_what_it_lists_or_all_but_what_it_drops(tmp_path: Path) -> None:
    filters = [
        {"column": "call", "keep": ["SNG"], "reason": "doublet"},
        {"column": "assay", "drop": ["Smart-seq2"], "reason": "no_umi"},
    ]
    keep, drop = read_catalog([sheet(tmp_path, toy=entry(filters=filters))]).studies["toy"].filters
    assert [keep.keeps(value) for value in ("SNG", "DBL", "")] == [True, False, False]
    assert [drop.keeps(value) for value in ("Smart-seq2", "10x 3' v3", "")] == [False, True, True]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batches": "x"}, ["unknown key 'batches'", "studies.toy.batches"]),
        ({"count_kind": "umis"}, ["'umis' is not a value", "studies.toy.count_kind", "did you mean 'umi'?"]),
        ({"obs": {"batch": {"kolumn": "x"}}}, ["unknown key 'kolumn'", "did you mean 'column'?"]),
        ({"obs": {"batch": {"column": "x", "part": True}}}, ["studies.toy.obs.batch"]),
        ({"files": {"../toy.h5ad": {"addresses": ["file:x"]}}}, ["studies.toy.files"]),
        ({"files": {"toy.h5ad": {"addresses": ["ftp://x/toy.h5ad"]}}}, ["studies.toy.files.toy.h5ad.addresses[0]"]),
        (
            {"files": {"toyy.h5ad": {"addresses": ["file:x"]}}},
            ["not among the study's files", "did you mean 'toyy.h5ad'?"],
        ),
        (
            {"files": {"toy.h5ad": {"addresses": ["zenodo:toy"]}}},
            ["malformed", "files.toy.h5ad.addresses[0]", "RECORD"],
        ),
        ({"files": {"toy.h5ad": {"addresses": ["simulate:toy"]}}}, ["cannot be fetched", "toy.h5ad.addresses[0]"]),
        ({"files": {"toy.h5ad": {"size": 1}}}, ["do not go together", "files.toy.h5ad", "`archive` and `member`"]),
        ({"files": {"toy.h5ad": {"archive": "a.zip"}}}, ["do not go together", "files.toy.h5ad"]),
        (
            {"files": {"toy.h5ad": {"addresses": ["file:x"], "archive": "a.zip", "member": "x"}}},
            ["do not go together", "files.toy.h5ad"],
        ),
        (
            {"files": {"a.zip": {"addresses": ["file:a"]}, "toy.h5ad": {"archive": "b.zip", "member": "x"}}},
            ["archive is not among the files", "files.toy.h5ad.archive", "did you mean 'a.zip'?"],
        ),
        (
            {
                "files": {
                    "a.zip": {"archive": "toy.h5ad", "member": "x"},
                    "toy.h5ad": {"archive": "a.zip", "member": "x"},
                }
            },
            ["archive is not among the files", "have addresses"],
        ),
        (
            {"alternatives": [{"name": "copy", "note": "x", "address": "figshare:copy"}]},
            ["malformed", "studies.toy.alternatives[0].address"],
        ),
        (
            {
                "files": {"toy.h5ad": {"addresses": ["https://ndownloader.figshare.com/files/7"]}},
                "do_not_use": [{"name": "bad.h5ad", "address": "figshare:7", "why": "normalised"}],
            },
            ["must not be used", "files.toy.h5ad.addresses[0]", "normalised"],
        ),
        ({"simulation": SCREEN}, ["`simulation` says that it is simulated", "`simulated: true`"]),
        ({"simulated": True, "files": {"toy.h5ad": {"addresses": ["simulate:screen"]}}}, ["cannot be fetched"]),
        ({"parts": [{"name": "a", "format": "mtx", "files": {"matrix": "toy.h5ad"}}]}, ["'features' is missing"]),
        (
            {"parts": [{"name": "a", "format": "dense_text", "files": {"matrix": "toy.h5ad"}}]},
            ["'orientation' is missing"],
        ),
    ],
)
def test_a_wrong_entry_gets_one_message_with_its_key(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        read_catalog([sheet(tmp_path, toy=entry(**changes))])
    for word in words:
        assert word in str(error.value)


def test_a_missing_sheet_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)missing.*nowhere\.yaml"):
        read_catalog([tmp_path / "nowhere.yaml"])


def test_a_sheet_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("studies: [")
    with pytest.raises(InputError, match=r"(?s)not YAML.*broken\.yaml"):
        read_catalog([tmp_path / "broken.yaml"])


def test_two_sheets_cannot_define_one_study(tmp_path: Path) -> None:
    path = sheet(tmp_path, toy=entry())
    with pytest.raises(InputError, match="'toy' is used twice"):
        read_catalog([path, path])


def test_an_annotation_that_names_no_hgnc_table_is_refused(tmp_path: Path) -> None:
    tables = {
        "axis": {
            "format": "gene_table_csv",
            "licence": "x",
            "hgnc": "hgcn",
            "files": {"a.csv": {"addresses": ["file:a"]}},
        },
        "hgnc": {"format": "hgnc_tsv", "licence": "x", "files": {"h.tsv": {"addresses": ["file:h"]}}},
    }
    (tmp_path / "sheet.yaml").write_text(yaml.safe_dump({"annotation": tables}))
    with pytest.raises(InputError, match=r"(?s)'hgcn' is no annotation entry.*did you mean 'hgnc'"):
        read_catalog([tmp_path / "sheet.yaml"])


def test_an_annotation_takes_events_and_sessions_of_its_history_and_nothing_else(catalog: Catalog) -> None:
    table = catalog.annotation["gencode_v46"]
    assert table.history is not None
    assert table.ensembl_release == 112
    assert len(catalog.references["ensembl_history"].files) == 4
    folder = Path("sources/ensembl_history")
    files = (folder / "stable_id_event.txt.gz", folder / "mapping_session.txt.gz")
    assert table.history_paths(Path("sources")) == files
    again = Annotation.from_json(table.for_axis().to_json())
    assert again.history_paths(Path("sources")) == files
    assert again.history is not None
    assert not any([again.history.title, again.history.citation, again.history.notes, again.history.licence])


def test_an_annotation_that_names_no_history_is_refused(tmp_path: Path) -> None:
    history = {
        "title": "history",
        "citation": {"doi": None, "year": 2020, "text": "toy"},
        "licence": "x",
        "files": {f"{name}.txt.gz": {"addresses": ["file:h"]} for name in ("stable_id_event", "mapping_session")},
    }
    axis = {
        "format": "gene_table_csv",
        "licence": "x",
        "files": {"a.csv": {"addresses": ["file:a"]}},
        "history": "events",
    }
    pairs = history | {"files": {"pairs.txt": {"addresses": ["file:p"]}}}
    sheet = {"annotation": {"axis": axis}, "references": {"event": history, "pairs": pairs}}
    (tmp_path / "sheet.yaml").write_text(yaml.safe_dump(sheet))
    with pytest.raises(InputError, match=r"(?s)'events' is no reference with the history.*did you mean 'event'"):
        read_catalog([tmp_path / "sheet.yaml"])
    axis["history"] = "pairs"
    (tmp_path / "sheet.yaml").write_text(yaml.safe_dump(sheet))
    with pytest.raises(InputError, match="'pairs' is no reference with the history"):
        read_catalog([tmp_path / "sheet.yaml"])


def test_an_annotation_knows_where_its_files_lie(catalog: Catalog) -> None:
    table = catalog.annotation["mini_ensembl"]
    assert table.hgnc is not None
    assert table.path(Path("sources")) == Path("sources/mini_ensembl/ensembl_human_genes.csv.gz")
    assert table.hgnc.path(Path("sources")) == Path("sources/mini_hgnc/hgnc_complete_set.txt.gz")
