"""Retired Ensembl ids: where the history of a toy axis leads, and what a damaged history says."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.axis import GeneAxis
from curation.errors import InputError
from curation.gene_history import with_history
from curation.genes import GeneMap, GeneNames
from curation.remote_file import HISTORY_FILES

Event = tuple[int, str | None, str | None]
# (session, release): the numbers of sessions do not follow time
SESSIONS = [(7, 80), (8, 90), (3, 100)]
ON_AXIS = {"a": "ENSG00000000001", "b": "ENSG00000000002", "c": "ENSG00000000003"}


def gene_id(name: str | None) -> str:
    """Ensembl id of a letter; x1, x2 ... are off the axis."""
    if name is None:
        return "\\N"
    return ON_AXIS.get(name) or f"ENSG000009{int(name[1:]):05d}"


@pytest.fixture
def mapped(axis: GeneAxis, tmp_path: Path) -> Callable[..., GeneMap]:
    def run(events: list[Event], ids: list[str], **options: int) -> GeneMap:
        rows = [f"{gene_id(old)}\t1\t{gene_id(new)}\t1\t{session}\tgene\t0.9\n" for session, old, new in events]
        rows.append("ENST00000000001\t1\tENST00000000001\t2\t7\ttranscript\t1\n")
        paths = [tmp_path / name for name in HISTORY_FILES]
        paths[0].write_bytes(gzip.compress("".join(rows).encode()))
        sessions = [f"{s}\told_db\tnew_db\t{r - 1}\t{r}\tGRCh38\tGRCh38\t2020-01-01 00:00:00\n" for s, r in SESSIONS]
        paths[1].write_bytes(gzip.compress("".join(sessions).encode()))
        return GeneNames(with_history(axis, *paths, **options)).map([gene_id(name) for name in ids], "ensembl")

    return run


@pytest.mark.parametrize(
    ("events", "position", "outcome"),
    [
        ([(7, "x1", "a")], 0, "retired"),
        ([(7, "x1", "x2"), (8, "x2", "x3"), (3, "x3", "b")], 1, "retired"),
        ([(3, "x1", "x2"), (7, "x2", "a")], -1, "retired_ensembl_id"),  # x2 became a before x1 became x2
        ([(7, "x1", "a"), (7, "x1", "b")], -1, "split_ensembl_id"),
        ([(7, "x1", "x2"), (8, "x2", "a"), (8, "x2", "b")], -1, "split_ensembl_id"),
        ([(7, "x1", "x2"), (7, "x1", "x3"), (8, "x2", "a"), (8, "x3", "a")], 0, "retired"),
        ([(7, "x1", "a"), (7, "x1", "x2"), (8, "x2", None)], 0, "retired"),
        ([(7, "x1", None)], -1, "retired_ensembl_id"),
        ([(7, "x1", None), (8, "x1", "c")], 2, "retired"),
        ([(7, "x1", "x2"), (8, "x2", "x1"), (3, "x1", "b")], 1, "retired"),
        ([(7, "x1", "a"), (8, "a", None)], 0, "retired"),  # a is on the axis, so the axis is older than its end
        ([(7, "x2", "a")], -1, "ensembl_id_not_on_axis"),
        ([(7, None, "x1")], -1, "ensembl_id_not_on_axis"),
    ],
)
def test_a_retired_id_goes_where_its_history_leads(
    mapped: Callable[..., GeneMap], events: list[Event], position: int, outcome: str
) -> None:
    found = mapped(events, ["x1"])
    assert (found.positions[0], found.reasons[0] or found.how[0]) == (position, outcome)


def test_an_id_on_the_axis_stays_itself_and_merged_ids_are_added_to_it(mapped: Callable[..., GeneMap]) -> None:
    found = mapped([(7, "a", "b"), (8, "x1", "a"), (3, "x2", "a")], ["a", "x1", "x2"])
    assert found.positions.tolist() == [0, 0, 0]
    assert found.how == ("ensembl", "retired", "retired")


def test_what_happened_after_the_release_of_the_axis_is_not_looked_at(mapped: Callable[..., GeneMap]) -> None:
    events: list[Event] = [(7, "x1", "a"), (3, "a", "b")]
    assert mapped(events, ["x1"]).positions[0] == 1
    assert mapped(events, ["x1"], last_release=90).positions[0] == 0


def test_a_page_in_place_of_a_table_is_refused(axis: GeneAxis, tmp_path: Path) -> None:
    sessions = tmp_path / "mapping_session.txt.gz"
    sessions.write_text("1\told\tnew\t79\t80\tGRCh38\tGRCh38\t2020-01-01 00:00:00\n")
    page = tmp_path / "stable_id_event.txt.gz"
    page.write_text("<html>\n<body>Ensembl is down</body>\n</html>\n")
    with pytest.raises(InputError, match="fewer columns than Ensembl's"):
        with_history(axis, page, sessions)


def test_tables_of_two_releases_are_refused(axis: GeneAxis, tmp_path: Path) -> None:
    sessions, events = tmp_path / "mapping_session.txt.gz", tmp_path / "stable_id_event.txt.gz"
    sessions.write_text("1\told\tnew\t79\t80\tGRCh38\tGRCh38\t2020-01-01 00:00:00\n")
    events.write_text("ENSG00000900001\t1\tENSG00000000001\t1\t2\tgene\t0.9\n")
    with pytest.raises(InputError, match="session 2, which is not in the table"):
        with_history(axis, events, sessions)


def test_an_axis_with_a_history_survives_writing_and_reading(axis: GeneAxis, tmp_path: Path) -> None:
    sessions, events = tmp_path / "mapping_session.txt.gz", tmp_path / "stable_id_event.txt.gz"
    sessions.write_text("1\told\tnew\t79\t80\tGRCh38\tGRCh38\t2020-01-01 00:00:00\n")
    events.write_text("ENSG00000900001\t1\t\\N\t\\N\t1\tgene\t0\n")
    with_history(axis, events, sessions).write(tmp_path / "genes.parquet")
    again = GeneAxis.read(tmp_path / "genes.parquet")
    assert again.sha256 == axis.sha256
    assert GeneNames(again).map(["ENSG00000900001.3"], "ensembl").reasons == ("retired_ensembl_id",)
