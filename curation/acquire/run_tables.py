"""The table of a study's runs at the Sequence Read Archive, made by pysradb from the answers of NCBI's eutils."""

from __future__ import annotations

import csv
import io

import requests

from curation.acquire.failures import GivenUpError, TryAgainError
from curation.acquire.http import Patience
from curation.acquire.ncbi import PoliteRequests, lent_to_pysradb
from curation.acquire.repositories.listed_file import unexpected

HOST = "eutils.ncbi.nlm.nih.gov"
# pysradb's columns, in the order in which they are written; what it adds later does not change the file.
COLUMNS = (
    "run_accession",
    "study_accession",
    "study_title",
    "experiment_accession",
    "experiment_title",
    "sample_accession",
    "sample_title",
    "biosample",
    "bioproject",
    "organism_taxid",
    "organism_name",
    "library_name",
    "library_strategy",
    "library_source",
    "library_selection",
    "library_layout",
    "instrument",
    "instrument_model",
    "run_total_spots",
    "run_total_bases",
)


def run_table(study: str, patience: Patience) -> bytes:
    """Return a study's runs as tab-separated text, sorted by run accession.

    Parameters
    ----------
    study : str
        SRP, ERP or DRP accession.
    patience : Patience

    Raises
    ------
    GivenUpError
        The archive knows no such study, or answered with something else.
    """
    with lent_to_pysradb(PoliteRequests(patience, _check)) as pysradb:
        try:
            table = pysradb.sraweb.SRAweb().sra_metadata(study)
        except (KeyError, TypeError, RuntimeError, AttributeError, IndexError) as error:  # pysradb does not check
            raise unexpected(HOST, f"pysradb failed with {type(error).__name__}: {error}") from None
    if table is None or not len(table) or "run_accession" not in table.columns:
        raise GivenUpError(f"{HOST} knows no runs of {study}", todo="check the accession of the study")
    # The search is for a word: it also finds experiments of other studies that mention this one.
    of_study = table[table["study_accession"] == study]
    text = of_study.reindex(columns=list(COLUMNS)).astype("string").fillna("")
    rows = sorted({tuple(" ".join(value.split()) for value in row) for row in text.itertuples(index=False)})
    rows = [row for row in rows if row[0]]
    if not rows:
        raise GivenUpError(f"{HOST} knows no public runs of {study}", todo="check the accession of the study")
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return out.getvalue().encode()


def _check(answer: requests.Response) -> None:
    """Raise unless the answer is the JSON of a search or of summaries."""
    start = " ".join(answer.text[:80].split())
    try:
        document = answer.json()
    except requests.exceptions.JSONDecodeError:
        raise GivenUpError(f"{HOST} answered with something other than JSON: {start!r}") from None
    if not isinstance(document, dict):
        raise unexpected(HOST, f"a mapping was expected, not {start!r}")
    if "error" in document:  # NCBI's word for too many requests in a second
        raise TryAgainError(f"{HOST} answered: {document['error']}")
    if not isinstance(document.get("esearchresult", document.get("result")), dict):
        raise unexpected(HOST, "no key 'esearchresult' or 'result'")
