"""The tables of docs/corpus-format.md against the golden corpus, and its worked example against today's writer.

`python -P tests/test_format_document.py` writes the example into the document.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import zarr

from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.build import Curation, curate_training
from curation.catalog import Study
from curation.corpus import FORMAT_VERSION, assemble, compose
from curation.recipe import Recipe
from curation.verify import verify_corpus

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "corpus-format.md"
GOLDEN = ROOT / "tests" / "golden" / f"corpus-{FORMAT_VERSION}.zip"
KINDS = {"string": str, "integer": int, "bool": bool, "object": dict, "array": list}
EXAMPLE = re.compile(r"(?<=<!-- example -->\n```\n).*?(?=```\n<!-- end of example -->)", re.DOTALL)
IDS = [f"ENSG{i:011d}" for i in range(1, 6)]
# Cells of two batches at the genes 1, 2 and 4 of the axis; the table has them in another order
CELLS = {"b1-a": [0, 3, 1], "b1-b": [2, 0, 0], "b2-c": [0, 0, 7], "b2-d": [1, 1, 300]}
TABLE_GENES = [IDS[3], IDS[0], IDS[1]]


def table(first_header: str) -> list[list[str]]:
    """Return the rows of the table of the document whose first header begins so."""
    from document_tables import table_rows  # which conftest.py loads: this file as a program does without

    return table_rows(DOCUMENT, f"| {first_header}")


def fields(first_header: str) -> dict[str, type]:
    """Return name and type of each row of a table of fields."""
    return {row[0].strip("`"): KINDS[row[1]] for row in table(first_header)}


def section_fields(title: str) -> dict[str, type]:
    """Return the fields of the first table of a section."""
    text = DOCUMENT.read_text().split(f"## {title}\n")[1]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", text.lstrip().split("\n\n")[0], re.MULTILINE)
    return {name: KINDS[kind] for name, kind in rows}


def kinds_of(found: dict[str, Any], names: list[str]) -> dict[str, type]:
    return {name: type(found[name]) for name in names}


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    shutil.unpack_archive(GOLDEN, folder)
    return folder / "corpus"


@pytest.fixture(scope="module")
def stores(golden: Path) -> list[Path]:
    found = sorted((golden / "stores").iterdir())
    assert len(found) == 4
    return found


def type_of(element: Any) -> str:
    if isinstance(element, zarr.Group):
        return str(element.attrs["encoding-type"])
    return "string" if element.attrs["encoding-type"].startswith("string") else str(element.dtype)


def test_the_elements_of_a_store_are_those_of_the_table_and_no_others(stores: list[Path]) -> None:
    promised = {row[0].strip("`"): row[1] for row in table("element ")}
    for store in stores:
        root = zarr.open_group(store, mode="r")
        assert {path: type_of(root[path]) for path in promised} == promised
        for frame, index in (("obs", "sample_id"), ("var", "ensembl_id")):
            columns = [path.removeprefix(f"{frame}/") for path in promised if path.startswith(f"{frame}/")]
            assert columns == [index, *root[frame].attrs["column-order"]]
            assert root[frame].attrs["_index"] == index
            assert set(root[frame].keys()) == set(columns)
        assert set(root["X"].keys()) == {"indptr", "indices", "data"}


def test_the_attributes_of_a_store_are_those_of_the_table(stores: list[Path]) -> None:
    promised = fields("attribute ")
    for store in stores:
        attributes = zarr.open_group(store, mode="r").attrs.asdict()
        assert attributes.keys() == {*promised, "encoding-type", "encoding-version"}
        assert kinds_of(attributes, list(promised)) == promised
        on_disk = {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()}
        assert list(attributes["files"]) == sorted(on_disk - {"zarr.json"})
        for path, stated in attributes["files"].items():
            content = (store / path).read_bytes()
            assert stated == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_codecs_and_grid_are_those_of_the_table(stores: list[Path]) -> None:
    promised = {
        row[0]: re.findall(r"`(\w+)`", row[1]) or int(row[1].replace(",", "")) for row in table("of `X/indptr`")
    }
    for store in stores:
        for name in ("indptr", "indices", "data"):
            metadata = json.loads((store / "X" / name / "zarr.json").read_text())
            (sharding,) = metadata["codecs"]
            inner, index = sharding["configuration"]["codecs"], sharding["configuration"]["index_codecs"]
            (chunk,), (shard,) = (
                sharding["configuration"]["chunk_shape"],
                metadata["chunk_grid"]["configuration"]["chunk_shape"],
            )
            assert {
                "codec": [sharding["name"]],
                "inner codecs": [codec["name"] for codec in inner],
                "byte order": [inner[0]["configuration"]["endian"]],
                "Blosc compressor": [inner[1]["configuration"]["cname"]],
                "Blosc level": inner[1]["configuration"]["clevel"],
                "Blosc shuffle": [inner[1]["configuration"]["shuffle"]],
                "elements a chunk": chunk,
                "chunks a shard, at most": promised["chunks a shard, at most"],
                "index codecs": [codec["name"] for codec in index],
                "index location": [sharding["configuration"]["index_location"]],
            } == promised
            assert shard % chunk == 0
            assert shard // chunk <= promised["chunks a shard, at most"]


def test_the_numbers_of_the_writer_are_those_of_the_table() -> None:
    from curation.shards import CHUNK_ELEMENTS, CHUNKS_PER_SHARD

    promised = {row[0]: row[1] for row in table("of `X/indptr`")}
    assert promised["elements a chunk"] == f"{CHUNK_ELEMENTS:,}"
    assert promised["chunks a shard, at most"] == str(CHUNKS_PER_SHARD)


def test_corpus_json_has_the_fields_of_its_tables_in_their_order(golden: Path) -> None:
    manifest = json.loads((golden / "corpus.json").read_text())
    promised, of_entry = section_fields("corpus.json"), fields("field of an entry")
    assert list(manifest) == list(promised)
    assert kinds_of(manifest, list(promised)) == promised
    assert manifest["format_version"] == FORMAT_VERSION
    for entry in manifest["stores"]:
        assert list(entry) == list(of_entry)
        assert kinds_of(entry, list(of_entry)) == of_entry


def test_a_variant_has_the_fields_of_its_table(golden: Path) -> None:
    variant = json.loads((golden / "variants" / "all.json").read_text())
    promised = section_fields("variants/&lt;variant&gt;.json")
    assert variant.keys() == promised.keys()
    assert kinds_of(variant, list(promised)) == promised
    of_entry = fields("field of an entry").keys() - {"zarr_json_sha256"}
    assert all(entry.keys() == of_entry for entry in variant["stores"])
    assert set(variant["totals"]["train"]) == {"n_samples", "nnz", "n_samples_sc", "n_samples_bulk"}


def test_the_version_is_that_of_the_title_and_of_the_last_change() -> None:
    assert DOCUMENT.read_text().splitlines()[0] == f"# The corpus on disk, format {FORMAT_VERSION}"
    assert table("version ")[-1][0] == FORMAT_VERSION


def build_example(folder: Path) -> Path:
    """Write the corpus of the example; return its folder."""
    corpus = folder / "corpus"
    genes = pl.DataFrame({"ensembl_id": IDS, "symbol": [f"G{i}" for i in range(5)], "biotype": "", "chromosome": ""})
    names = pl.DataFrame(schema=dict.fromkeys(ALIAS_COLUMNS, pl.String))
    GeneAxis(genes=genes, names=names).write(corpus / "genes.parquet")
    (folder / "toy.csv").write_text(example_table())
    part = {"name": "p", "format": "dense_text", "orientation": "samples_by_genes", "files": {"matrix": "toy.csv"}}
    study = Study.from_mapping(
        {"name": "toy", "assay": "sc", "count_kind": "umi", "gene_ids": "ensembl", "gene_prefix_keep": None}
        | {"expected": None, "simulation": None, "obs": {"batch": {"pattern": "^(b[0-9])"}}, "parts": [part]}
        | {"files": {"toy.csv": {"addresses": ["file:toy"]}}, "licence": "CC0", "role": "train"}
        | {"publication_key": ["toy", "toy"], "organism": "human", "simulated": False, "filters": []}
        | {"alternatives": [], "do_not_use": [], "citation": {}, "title": "", "notes": "", "status": {}}
    )
    task = Curation(
        study=study, recipe=Recipe(), recipe_name="plain", genes=corpus / "genes.parquet", sources=folder, seed=0
    )
    paths = {split: corpus / "stores" / f"toy.plain.{split}.zarr" for split in ("train", "validation")}
    curate_training(task, **paths, report=folder / "toy.json", validation_share=0.5)
    reports = [folder / "toy.json"]
    assemble(corpus, name="example", axis_source="toy", reports=reports, studies={}, out=corpus / "corpus.json")
    compose(corpus, variant="all", members={"toy": "plain"}, held_out=[], reports=reports)
    return corpus


def example_table() -> str:
    """Return the source table of the example."""
    rows = [f"{cell}," + ",".join(map(str, counts)) for cell, counts in CELLS.items()]
    return "\n".join(["," + ",".join(TABLE_GENES), *rows, ""])


def shown(values: np.ndarray) -> str:
    return ", ".join(map(str, values.tolist()))


def example_text(corpus: Path) -> str:
    """Return the example as the document has it."""
    lines = ["toy.csv, the source", *(f"    {line}" for line in example_table().splitlines())]
    for split in ("train", "validation"):
        store = corpus / "stores" / f"toy.plain.{split}.zarr"
        root = zarr.open_group(store, mode="r")
        batch = root["obs/batch"]
        lines += [
            "",
            f"stores/{store.name}",
            f"    X/indptr           {shown(root['X/indptr'][:])}",
            f"    X/indices          {shown(root['X/indices'][:])}",
            f"    X/data             {shown(root['X/data'][:])}",
            f"    obs/sample_id      {shown(root['obs/sample_id'][:])}",
            f"    obs/batch          {shown(batch['categories'][:][batch['codes'][:]])}",
            f"    obs/library_size   {shown(root['obs/library_size'][:])}",
            f"    obs/n_genes        {shown(root['obs/n_genes'][:])}",
            f"    obs/source_row     {shown(root['obs/source_row'][:])}",
            f"    var/measured       {shown(root['var/measured'][:])}",
            f"    var/n_detected     {shown(root['var/n_detected'][:])}",
        ]
        data = root["X/data"][:].astype("<i4")
        digests = root.attrs["digests"]
        assert digests["X/data"] == hashlib.sha256(b"<i4" + data.tobytes()).hexdigest()
        assert root.attrs["digest"] == hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
        lines += [
            f'    digest of X/data   sha256 of "<i4" and {data.tobytes().hex(" ", 4)}',
            f"        {digests['X/data']}",
        ]
        lines += ["    digest", f"        {root.attrs['digest']}"]
    variant = json.loads((corpus / "variants" / "all.json").read_text())
    measured = np.isin(IDS, TABLE_GENES)
    bits = np.packbits(measured, bitorder="little")
    positions = "\n".join(map(str, np.flatnonzero(measured).tolist()))
    assert variant["vocabulary"]["axis_positions_sha256"] == hashlib.sha256(positions.encode()).hexdigest()
    lines += [
        "",
        "variants/all.json",
        f"    measured of toy    {shown(measured.astype(int))}; the first gene is the lowest bit: {bits[0]:08b}",
        f"        {variant['measured']['toy']}",
        f'    vocabulary         {shown(np.flatnonzero(measured))}: sha256 of "{positions}"'.replace("\n", "\\n"),
        f"        {variant['vocabulary']['axis_positions_sha256']}",
        f"    totals of train    {', '.join(f'{name} {n}' for name, n in variant['totals']['train'].items())}",
        "",
    ]
    return "\n".join(lines)


def test_the_worked_example_is_what_the_writer_writes(tmp_path: Path) -> None:
    corpus = build_example(tmp_path)
    assert verify_corpus(corpus) == []
    found = EXAMPLE.search(DOCUMENT.read_text())
    assert found
    assert found[0] == example_text(corpus), "run `python -P tests/test_format_document.py`"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        text = example_text(build_example(Path(scratch)))
    DOCUMENT.write_text(EXAMPLE.sub(lambda _: text, DOCUMENT.read_text()))
    sys.exit(0)
