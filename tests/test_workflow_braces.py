"""What the catalogue says in braces is text, and no wildcard of Snakemake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "demo" / "config.yaml"


def test_braces_in_a_citation_and_a_licence_do_not_stop_the_plan(workflow: Callable[..., Any], tmp_path: Path) -> None:
    sheet = yaml.safe_load((ROOT / "demo" / "catalog.yaml").read_text())
    for study in sheet["studies"].values():
        study["citation"]["text"] += " {x}"
        study["licence"] += " {y}"
    (tmp_path / "sheet.yaml").write_text(yaml.safe_dump(sheet))
    (tmp_path / "braces.yaml").write_text(yaml.safe_dump({"catalogs": {"demo": str(tmp_path / "sheet.yaml")}}))
    jobs = workflow(DEMO).plan("corpora", tmp_path / "braces.yaml")
    assert (jobs["assemble"], jobs["notice"]) == (1, 1)
