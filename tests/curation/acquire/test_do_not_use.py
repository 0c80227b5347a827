"""Files that look right and are not: every one that the catalogue names is refused, by its sum alone."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from curation.acquire.fetch import fetch
from curation.catalog import Study, read_catalog
from curation.errors import InputError

ROOT = Path(__file__).parents[3]
STUDIES = read_catalog(sorted((ROOT / "curation/catalog").glob("[!s]*.yaml"))).studies
NAMED = [(study.name, entry["md5"]) for study in STUDIES.values() for entry in study.do_not_use if entry.get("md5")]
# Stands in for gigabytes of normalised values, whose bytes nobody can make here; only the sum is exchanged.
STAND_IN = b"0.31\t1.87\t0.05\n" * 1000
STAND_IN_MD5 = hashlib.md5(STAND_IN, usedforsecurity=False).hexdigest()


def with_stand_in(study: Study, md5: str) -> Study:
    """The study as the catalogue has it, but for the sum of one file that must not be used."""
    entries = [{**entry, "md5": STAND_IN_MD5} if entry.get("md5") == md5 else dict(entry) for entry in study.do_not_use]
    fields = dataclasses.asdict(dataclasses.replace(study, do_not_use=tuple(entries)))
    for file in fields["files"].values():
        file.pop("refused_md5")
        file.pop("path")
    return Study.from_mapping(fields)


@pytest.mark.parametrize(("name", "md5"), NAMED)
def test_a_file_that_must_not_be_used_is_refused_even_where_its_size_is_right(
    tmp_path: Path, name: str, md5: str
) -> None:
    origin = tmp_path / "origin"
    origin.write_bytes(STAND_IN)
    study = with_stand_in(STUDIES[name], md5)
    (why,) = [entry["why"] for entry in study.do_not_use if entry.get("md5") == STAND_IN_MD5]
    for path, file in study.files.items():
        # The catalogue's own sum would refuse it as well; what is tested is that the list does.
        known = dataclasses.replace(
            file, path="counts.tsv", addresses=(f"file:{origin}",), size=len(STAND_IN), md5=None, sha256=None
        )
        with pytest.raises(InputError) as error:
            fetch(known, tmp_path / "sources" / name / path)
        assert "must not be used" in error.value.found
        assert why in error.value.found
        assert not (tmp_path / "sources" / name / path).exists()


def test_the_normalised_k562_matrix_is_among_them() -> None:
    assert ("replogle_k562", "6cd393e369506849ebf959175989d632") in NAMED
    assert len(NAMED) >= 4
