"""The NOTICE of a corpus names every source, its terms, and what is not in the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation.config import merge, read_config
from curation.notice import notice, write_notice
from curation.plan import Plan, read_plan

ROOT = Path(__file__).parents[2]


def plan(*overlays: str, **changes: Any) -> Plan:
    """The plan of config.yaml with configs and changes merged over it."""
    config = read_config([ROOT / "config.yaml", *(ROOT / name for name in overlays)])
    return read_plan(merge(config, changes), ROOT)


def joined(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


def test_every_source_has_its_citation_licence_and_addresses() -> None:
    shipped = plan()
    text = joined(notice(shipped))
    for name, files in shipped.sources.items():
        assert f"{name}: " in text
        for file in files.values():
            assert all(f"From: {address}" in text for address in file.addresses), name
    for name in shipped.studies:
        study = shipped.catalog.studies[name]
        assert joined(f"Cite: {study.citation['text']} ({study.citation['year']}).") in text
        assert f"https://doi.org/{study.citation['doi']}" in text
        assert f"Licence: {study.licence}" in text
    for table in shipped.annotations:
        assert f"https://doi.org/{table.citation['doi']}" in text


def test_what_is_held_out_or_only_evaluates_stands_apart_from_what_is_in_the_corpus() -> None:
    text = notice(plan(select={"references": ["signor"]}))
    titles = ("Training studies", "Evaluation studies", "Gene annotation", "Reference tables")
    places = [text.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    assert places[0] < text.index("\nreplogle_k562: ") < places[1] < text.index("\nrpe1: ") < places[2]
    assert places[2] < text.index("\nhgnc: ") < places[3] < text.index("\nsignor: ")
    assert "Use: non-commercial only" in text[places[3] :]


def test_corum_and_signor_are_named_as_not_part_of_the_corpus_also_where_none_is_fetched() -> None:
    text = joined(notice(plan()))
    assert (
        "Licensed for non-commercial use only: corum (CC BY-NC 4.0), signor (CC BY-NC 4.0). They are not part" in text
    )
    assert "Reference tables" not in text


def test_a_simulation_is_called_one() -> None:
    text = notice(plan("demo/config.yaml"))
    entry = text[text.index("simulated_screen: ") :].split("\n\n")[0]
    assert "Counts: simulated" in entry
    assert "From:" not in entry


def test_the_notice_is_written_as_text_with_accents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "corpus" / "NOTICE"
    write_notice([Path("config.yaml")], out)
    assert out.read_text(encoding="utf-8") == notice(plan())
    assert "Guimarães" in out.read_text(encoding="utf-8")
