"""The frame of scores, and its files."""

import json

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import txfm.evaluation.scores as module
from txfm.errors import InputError
from txfm.evaluation.scores import DTYPES, Score, read_scores, score_frame, write_scores

FIELDS = {
    "benchmark": "perturbation",
    "dataset": "screen",
    "embedder": "X_pca",
    "kind": "obsm",
    "task": "inv",
    "metric": "spearman",
    "value": 0.5,
}
ONE = Score(**FIELDS)
SHARE = Score(**(FIELDS | {"metric": "recall", "hits": 3, "trials": 4, "value": 0.75, "seed": 1, "primary": True}))


def test_scores_come_back_as_they_were_written(tmp_path):
    frame = score_frame([ONE, SHARE])
    write_scores(tmp_path / "new", frame, {"settings": {"seeds": [0]}}, "# table\n")
    again, record = read_scores(tmp_path / "new")
    assert_frame_equal(again, frame)
    assert record["settings"] == {"seeds": [0]}
    assert {column: str(dtype) for column, dtype in again.dtypes.items()} == DTYPES
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        f"scores.{end}" for end in ("json", "md", "parquet", "tsv")
    ]
    assert len(pd.read_csv(tmp_path / "new" / "scores.tsv", sep="\t")) == 2


def test_an_empty_frame_has_the_same_columns(tmp_path):
    write_scores(tmp_path, score_frame([]), {}, "")
    assert {column: str(dtype) for column, dtype in read_scores(tmp_path)[0].dtypes.items()} == DTYPES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": float("nan")}, "no finite number"),
        ({"value": float("inf")}, "no finite number"),
        ({"benchmark": "beauty"}, "unknown benchmark"),
        ({"postprocessing": "whitening"}, "unknown postprocessing"),
        ({"hits": 5, "trials": 4}, "other hits than trials"),
        ({"hits": 0, "trials": 0}, "other hits than trials"),
        ({"hits": 1}, "other hits than trials"),
        ({"value": 0.6}, "there twice"),
    ],
)
def test_what_is_no_score_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        score_frame([ONE, Score(**(FIELDS | changes))])


def test_a_failure_while_writing_leaves_the_older_scores(tmp_path, monkeypatch):
    frame = score_frame([ONE, SHARE])
    write_scores(tmp_path, frame, {}, "old")

    def full(path):
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "flush_to_disk", full)
    with pytest.raises(OSError, match="No space"):
        write_scores(tmp_path, score_frame([ONE]), {}, "new")
    assert_frame_equal(read_scores(tmp_path)[0], frame)
    assert len(list(tmp_path.iterdir())) == 4


def test_scores_of_another_format_are_refused(tmp_path):
    with pytest.raises(InputError, match="There are no scores"):
        read_scores(tmp_path)
    write_scores(tmp_path, score_frame([ONE, SHARE]), {}, "")
    record = json.loads((tmp_path / "scores.json").read_text())
    for text, message in (
        (json.dumps(record | {"format_version": "9.0"}), "another format"),
        ("[]", "another format"),
        ("{", "record of the scores is damaged"),
    ):
        (tmp_path / "scores.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_scores(tmp_path)


@pytest.mark.parametrize("name", ["scores.parquet", "scores.md", "summary.parquet"])
def test_a_file_of_another_run_or_a_missing_one_is_refused(tmp_path, name):
    for folder, value in (("one", 0.5), ("two", 0.6)):  # as many scores, of other numbers
        frame = score_frame([Score(**(FIELDS | {"value": value}))])
        write_scores(tmp_path / folder, frame, {}, f"# {value}", {"summary.parquet": frame})
    (tmp_path / "two" / name).replace(tmp_path / "one" / name)
    for folder in ("one", "two"):
        with pytest.raises(InputError, match=rf"(?s)do not belong together.*{name}"):
            read_scores(tmp_path / folder)


def test_files_of_an_older_run_are_removed_and_those_of_others_stay(tmp_path):
    frame = score_frame([ONE])
    write_scores(tmp_path, frame, {}, "", {"clusterings.parquet": frame, "misses.tsv": frame})
    (tmp_path / "notes.txt").write_text("mine")
    write_scores(tmp_path, frame, {}, "", {"misses.tsv": frame})
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"scores.{end}" for end in ("json", "md", "parquet", "tsv")),
        "misses.tsv",
        "notes.txt",
    }
    assert_frame_equal(read_scores(tmp_path)[0], frame)
