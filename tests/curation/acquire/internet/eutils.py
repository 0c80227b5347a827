"""Entrez utilities of NCBI as pysradb asks them: esearch, then esummary of what was found, as JSON."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape, quoteattr

from messages import Answer, Request
from world import World


def play(world: World, request: Request) -> Answer | None:
    """Return the answer of esearch or esummary."""
    studies: dict[str, list[dict[str, Any]]] = world.scenes.get("sra", {})
    query = request.query
    if request.path == "/entrez/eutils/esearch.fcgi":
        study = query["term"]
        count = len(studies.get(study, []))
        result = {"count": str(count), "retmax": "20", "retstart": "0", "querykey": "1", "webenv": f"MCID_{study}"}
        return Answer.of_json(
            {"header": {"type": "esearch", "version": "0.3"}, "esearchresult": {**result, "idlist": []}}
        )
    if request.path == "/entrez/eutils/esummary.fcgi":
        study = query["WebEnv"].removeprefix("MCID_")
        start, size = int(query["retstart"]), int(query["retmax"])
        experiments = studies[study][start : start + size]
        result = {experiment["uid"]: _summary(study, experiment) for experiment in experiments}
        return Answer.of_json(
            {"header": {"type": "esummary", "version": "0.3"}, "result": {"uids": list(result), **result}}
        )
    return None


def _summary(study: str, experiment: dict[str, Any]) -> dict[str, str]:
    """Return an experiment as esummary does: two pieces of XML inside JSON."""
    title, accession, sample = experiment["title"], experiment["accession"], experiment["sample"]
    runs = experiment["runs"]
    spots = sum(run["spots"] for run in runs)
    description = (
        f"<Summary><Title>{escape(title)}</Title>"
        '<Platform instrument_model="Illumina NovaSeq 6000">ILLUMINA</Platform>'
        f'<Statistics total_runs="{len(runs)}" total_spots="{spots}" total_bases="{spots * 100}" total_size="{spots}" '
        'load_done="true" cluster_name="public"/></Summary>'
        '<Submitter acc="SRA000001" center_name="GEO" contact_name="" lab_name=""/>'
        f'<Experiment acc="{accession}" ver="1" status="public" name={quoteattr(title)}/>'
        f'<Study acc="{study}" name="A study"/>'
        '<Organism taxid="9606" ScientificName="Homo sapiens"/>'
        f'<Sample acc="{sample}" name=""/>'
        '<Instrument ILLUMINA="Illumina NovaSeq 6000"/>'
        "<Library_descriptor><LIBRARY_NAME>library</LIBRARY_NAME><LIBRARY_STRATEGY>RNA-Seq</LIBRARY_STRATEGY>"
        "<LIBRARY_SOURCE>TRANSCRIPTOMIC</LIBRARY_SOURCE><LIBRARY_SELECTION>cDNA</LIBRARY_SELECTION>"
        "<LIBRARY_LAYOUT> <PAIRED/> </LIBRARY_LAYOUT></Library_descriptor>"
        "<Bioproject>PRJNA1</Bioproject><Biosample>SAMN1</Biosample>"
    )
    listed = "".join(
        f'<Run acc="{run["accession"]}" total_spots="{run["spots"]}" total_bases="{run["spots"] * 100}" '
        'load_done="true" is_public="true" cluster_name="public" static_data_available="true"/>'
        for run in runs
    )
    return {
        "uid": experiment["uid"],
        "expxml": description,
        "runs": listed,
        "extlinks": "",
        "createdate": "2021/06/11",
        "updatedate": "2021/06/11",
    }
