"""Addresses of the catalogue, parsed without asking anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation.acquire.addresses import (
    BucketAddress,
    GdcAddress,
    ListedAddress,
    LocalAddress,
    RunTableAddress,
    WebAddress,
    WheelAddress,
    needs_listing,
    parse_address,
)
from curation.errors import InputError

COLLECTION = "a18474f4-ff1e-4864-af69-270b956cee5b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://x.org/a?b=c#d", WebAddress(urls=("https://x.org/a?b=c#d",))),
        ("file:$DIVERSERNA_DATA/a", LocalAddress(path=Path("../shared/data/a"))),
        (
            "pypi:rna-norm==2.2.0#rnanorm/files/a.csv.gz",
            WheelAddress(package="rna-norm", version="2.2.0", member="rnanorm/files/a.csv.gz"),
        ),
        (
            "figshare:35775507",
            WebAddress(
                urls=(
                    "https://ndownloader.figshare.com/files/35775507",
                    "https://api.figshare.com/v2/file/download/35775507",
                )
            ),
        ),
        ("figshare:10298696/a b.zip", ListedAddress(repository="figshare", container="10298696", name="a b.zip")),
        ("zenodo:13350497/x.h5ad", ListedAddress(repository="zenodo", container="13350497", name="x.h5ad")),
        (
            f"cellxgene:{COLLECTION}/UMAP of all data",
            ListedAddress(repository="cellxgene", container=COLLECTION, name="UMAP of all data"),
        ),
        (
            "geo:GSE176078/GSE176078_counts.tar.gz",
            ListedAddress(repository="geo", container="GSE176078", name="GSE176078_counts.tar.gz"),
        ),
        ("sra:SRP376262", RunTableAddress(study="SRP376262")),
        (
            "gdc:cases.project.program.name=TCGA;data_type=Gene Expression Quantification; access=open",
            GdcAddress(
                filters=(
                    ("cases.project.program.name", "TCGA"),
                    ("data_type", "Gene Expression Quantification"),
                    ("access", "open"),
                )
            ),
        ),
        ("s3://bucket/a/b.h5ad", BucketAddress(scheme="s3", bucket="bucket", key="a/b.h5ad")),
        ("gs://bucket/b.gct.gz", BucketAddress(scheme="gs", bucket="bucket", key="b.gct.gz")),
    ],
)
def test_an_address_is_parsed_by_its_scheme(text: str, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIVERSERNA_DATA", raising=False)
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https:///a",
        "http://[::1/a",
        "file:",
        "pypi:toy",
        "figshare:x",
        "zenodo:13350497",
        "cellxgene:UMAP",
        "geo:176078/a",
        "geo:GSE1/a/b",
        "sra:GSE1",
        "gdc:TCGA",
        "s3://bucket",
        "gs:bucket/a",
    ],
)
def test_a_malformed_address_is_answered_with_its_form(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_address(text)
    assert error.value.where == text
    assert error.value.expected.startswith(text.partition(":")[0])


def test_an_unknown_scheme_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError) as error:
        parse_address("ftp://x.org/a")
    assert "zenodo:" in error.value.expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("figshare:35775507", False),
        ("figshare:10298696/a.zip", True),
        ("zenodo:13350497/x.h5ad", True),
        ("https://zenodo.org/api/records/1/files/a/content", False),
        ("gdc:access=open", True),
        ("file:a", False),
    ],
)
def test_only_addresses_that_an_api_has_to_look_up_belong_in_the_lock(text: str, expected: bool) -> None:
    assert needs_listing(text) is expected
