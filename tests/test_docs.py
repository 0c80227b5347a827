"""Documents lead where they say."""

import dataclasses
import re
from pathlib import Path

import pytest

from txfm.config import CHOICES, ModelConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_of_a_page_resolves(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    missing = [target for target in local if target and not (page.parent / target).exists()]
    assert not missing


def test_the_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)) <= targets


def test_the_model_page_has_every_field_and_choice_of_a_model() -> None:
    page = (ROOT / "docs" / "model.md").read_text()
    fields = [field.name for field in dataclasses.fields(ModelConfig)]
    missing = [name for name in fields if f"`{name}`" not in page]
    missing += [choice for choices in CHOICES.values() for choice in choices if choice not in page]
    assert not missing, "docs/model.md, section Fields, needs a line for each"
