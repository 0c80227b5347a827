"""The examples of docs/corpus-reader.md run as they stand, on a small corpus."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "corpus-reader.md"


def test_every_example_of_the_page_runs(small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results" / "demo").mkdir(parents=True)
    (tmp_path / "results" / "demo" / "corpus").symlink_to(small_corpus)
    store = "mine.plain.train.zarr"
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(examples) >= 3
    names: dict[str, object] = {"path": f"results/demo/corpus/stores/{store}"}
    for example in examples:
        exec(example.replace("celltypist_sample.demo_cells.train.zarr", store), names)
    assert names["cells"].shape[0] > 100  # type: ignore[attr-defined]
