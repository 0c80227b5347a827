"""Retired Ensembl gene ids: the genes of an axis that they lead to, through the releases of Ensembl."""

from __future__ import annotations

import dataclasses
import io
from collections import defaultdict
from pathlib import Path

import polars as pl

from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.errors import InputError
from curation.readers.text import line_chunks, read_table

# tables of Ensembl's core database, dumped without a header
EVENT_COLUMNS = ("old_stable_id", "old_version", "new_stable_id", "new_version", "mapping_session_id", "type", "score")
SESSION_COLUMNS = (
    *("mapping_session_id", "old_db_name", "new_db_name", "old_release", "new_release"),
    *("old_assembly", "new_assembly", "created"),
)
NULL = "\\N"


def with_history(axis: GeneAxis, events: Path, sessions: Path, *, last_release: int | None = None) -> GeneAxis:
    """Return the axis with names of kind `retired`: old id -> gene of the axis, one row a gene.

    A retired id that leads nowhere has one row with gene "". Several rows mean that the gene was split.

    Parameters
    ----------
    axis : GeneAxis
    events, sessions : Path
        `stable_id_event` and `mapping_session`, the files of Ensembl's core database, plain or gz.
    last_release : int, optional
        Ensembl release of the axis; what happened later is not looked at. None looks at everything.

    Raises
    ------
    InputError
        A table is damaged, has other columns, or names a session that the other lacks.
    """
    order = _session_order(sessions, last_release)
    by_session = _events_by_session(events, order, where=str(sessions))
    on_axis = set(axis.ensembl_ids)
    heirs: dict[str, frozenset[str]] = {}

    def leads_to(gene: str) -> frozenset[str]:
        return heirs.get(gene, frozenset({gene}) & on_axis)

    # from the newest session to the oldest: `heirs` of an id are right for everybody who meets it before this session
    for session in sorted(by_session, key=lambda session: order[session], reverse=True):
        found: dict[str, frozenset[str]] = {}
        for old, successors in by_session[session].items():
            targets = frozenset().union(*map(leads_to, successors))
            found[old] = targets or leads_to(old)
        heirs.update(found)
    rows = [(old, heir) for old in sorted(heirs.keys() - on_axis) for heir in sorted(heirs[old]) or [""]]
    names = pl.DataFrame(rows, schema=["name", "ensembl_id"], orient="row").with_columns(
        pl.lit("retired").alias("kind")
    )
    known = axis.names.filter(pl.col("kind") != "retired")
    return dataclasses.replace(axis, names=pl.concat([known, names.select(ALIAS_COLUMNS)]) if rows else known)


def _session_order(path: Path, last_release: int | None) -> dict[str, tuple[float, str, int]]:
    """Return the sessions up to a release, with what sorts them in time.

    Their numbers do not always follow time, and early releases have none or names such as ALL.
    """
    frame = read_table(path, has_header=False, separator="\t", quote_char=None, null_values=[NULL])
    _check_columns(frame.width, SESSION_COLUMNS, path)
    frame = frame.rename(dict(zip(frame.columns, SESSION_COLUMNS, strict=False)))
    order = {}
    for row in frame.iter_rows(named=True):
        release = _number(row["new_release"])
        if last_release is None or release <= last_release:
            order[row["mapping_session_id"]] = (release, row["created"] or "", int(row["mapping_session_id"]))
        else:
            order[row["mapping_session_id"]] = _LATER
    return order


_LATER = (float("inf"), "", 0)


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _events_by_session(
    path: Path, order: dict[str, tuple[float, str, int]], *, where: str
) -> dict[str, dict[str, set[str]]]:
    """Return session -> old id -> ids that it became, of genes; no id for a gene that was withdrawn.

    The file has transcripts and translations, too, and some millions of rows: only genes stay in memory.
    """
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for chunk in line_chunks(path, skip=0):
        try:
            frame = pl.read_csv(
                io.BytesIO(chunk),
                has_header=False,
                separator="\t",
                infer_schema=False,
                quote_char=None,
                null_values=[NULL],
            )
        except pl.exceptions.PolarsError as error:
            raise InputError(
                "this is no table of stable-id events",
                where=str(path),
                expected=", ".join(EVENT_COLUMNS),
                found=str(error).splitlines()[0],
                todo="fetch the file again; a page in its place means that the server is down",
            ) from error
        _check_columns(frame.width, EVENT_COLUMNS, path)
        frame = frame.rename(dict(zip(frame.columns, EVENT_COLUMNS, strict=False)))
        genes = frame.filter((pl.col("type") == "gene") & pl.col("old_stable_id").is_not_null())
        for old, new, session in genes.select("old_stable_id", "new_stable_id", "mapping_session_id").iter_rows():
            if session not in order:
                raise InputError(
                    f"an event belongs to mapping session {session}, which is not in the table of sessions",
                    where=where,
                    expected="both tables of one Ensembl release",
                    todo="fetch both again from the same folder",
                )
            if order[session] is not _LATER:
                found[session][old].update([new] if new else [])
    return found


def _check_columns(width: int, columns: tuple[str, ...], path: Path) -> None:
    if width < len(columns):
        raise InputError(
            "the table has fewer columns than Ensembl's",
            where=str(path),
            expected=f"{len(columns)} columns without a header: {', '.join(columns)}",
            found=f"{width} columns",
            todo="check that the file is the dump of Ensembl's core database",
        )
