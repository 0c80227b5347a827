"""Scores of every benchmark in one shape: a frame with a number a row, and the record of how they were made."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from txfm.artifact.provenance import git_commit, txfm_version
from txfm.artifact.sums import sums_of
from txfm.errors import InputError
from txfm.files import flush_to_disk, temporary_beside

FORMAT, FORMAT_VERSION = "txfm-scores", "0.2"
RECORD = "scores.json"
BENCHMARKS = ("perturbation", "cell_types", "genes", "layers", "held_out")
POSTPROCESSINGS = ("none", "centering", "standardising", "tvn")
# efaar-benchmarking is not run: its databases of related genes are read where it is installed
LIBRARIES = (
    "anndata",
    "efaar-benchmarking",
    "igraph",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "statsmodels",
    "torch",
)
DTYPES = {
    **dict.fromkeys("benchmark dataset embedder kind variant model".split(), "object"),
    "model_seed": "Int64",
    **dict.fromkeys("task metric postprocessing".split(), "object"),
    "seed": "Int64",
    "value": "float64",
    "hits": "Int64",
    "trials": "Int64",
    "primary": "bool",
}
KEY = [column for column in DTYPES if column not in ("value", "hits", "trials", "primary")]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number. What was not measured has no row: its reason is in the record.

    Attributes
    ----------
    benchmark : str
        One of `BENCHMARKS`.
    dataset : str
        Study or file that was scored on.
    embedder, kind : str
        Shown label, and what it is: txfm, pca, lognorm, hvg, scvi, obsm, random, ...
    variant, model, model_seed : str, str, int or None
        Of the corpus, folder and training seed of a trained model; empty or None for what has none.
    task, metric : str
        A task is scored by the mean of its primary metrics.
    postprocessing : str
        One of `POSTPROCESSINGS`, or empty where there is none to choose.
    seed : int or None
        Of the evaluation; None for a metric without a random choice.
    value : float
        Finite.
    hits, trials : int or None
        Where the value is a share.
    primary : bool
        Enters the task's score.
    """

    benchmark: str
    dataset: str
    embedder: str
    kind: str
    variant: str = ""
    model: str = ""
    model_seed: int | None = None
    task: str
    metric: str
    postprocessing: str = ""
    seed: int | None = None
    value: float
    hits: int | None = None
    trials: int | None = None
    primary: bool = False


def score_frame(scores: Iterable[Score]) -> pd.DataFrame:
    """The scores as a frame with the columns and types of `DTYPES`, checked by `check_scores`."""
    frame = pd.DataFrame([asdict(score) for score in scores], columns=list(DTYPES)).astype(DTYPES)
    check_scores(frame)
    return frame


def check_scores(frame: pd.DataFrame, where: str = "") -> None:
    """Refuse a frame that cannot be compared with others.

    Raises
    ------
    InputError
        Columns or types differ, a benchmark or post-processing is unknown, a value is not finite, a share is none, or
        a number is there twice.
    """

    def refuse(what: str, expected: str, found: object) -> None:
        raise InputError(what, where=where, expected=expected, found=str(found))

    found = {str(column): str(dtype) for column, dtype in frame.dtypes.items()}
    if found != DTYPES:
        refuse("The columns of the scores are not those of this format", str(DTYPES), found)
    for column, allowed in (("benchmark", BENCHMARKS), ("postprocessing", (*POSTPROCESSINGS, ""))):
        if strange := sorted(set(frame[column]) - set(allowed)):
            refuse(f"Scores name an unknown {column}", ", ".join(allowed), ", ".join(map(str, strange)))
    if not_finite := [row for row, value in enumerate(frame["value"]) if not math.isfinite(value)]:
        refuse("A score is no finite number", "no row for what was not measured", frame.iloc[not_finite[0]].to_dict())
    shares = frame[frame["trials"].notna() | frame["hits"].notna()]
    is_share = ((shares["hits"] >= 0) & (shares["hits"] <= shares["trials"]) & (shares["trials"] > 0)).fillna(False)
    if not is_share.all():
        refuse("A share has other hits than trials allow", "0 <= hits <= trials", shares[~is_share].iloc[0].to_dict())
    if frame.duplicated(KEY).any():
        refuse("A score is there twice", "each number once", frame[frame.duplicated(KEY)].iloc[0][KEY].to_dict())


def reason_of(error: InputError) -> str:
    """One line of an error, for the record's `not_scored`."""
    return f"{error.what} ({error.found})" if error.found else error.what


def refuse_empty(frame: pd.DataFrame, not_scored: Iterable[Mapping[str, str]], path: Path) -> None:
    """Refuse to write a table without a number, or with none but those of the floor.

    Raises
    ------
    InputError
        Nothing was scored; the message has the reasons.
    """
    if (frame["kind"] == "random").all():
        reasons = sorted({row["reason"] for row in not_scored})
        raise InputError("Nothing could be scored", where=str(path), found="; ".join(reasons))


def software() -> dict[str, str | None]:
    """Versions of what computes scores; None for what is not installed."""
    ours = {"txfm": txfm_version(), "git_commit": git_commit()}
    return ours | {name: _version(name) for name in LIBRARIES}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def write_scores(
    folder: Path,
    frame: pd.DataFrame,
    record: Mapping[str, Any],
    table: str,
    frames: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Write scores.parquet, scores.tsv, scores.md and, last, scores.json; each replaces an older one in one step.

    scores.json has bytes and sha256 of every other file. Files that an older scores.json names and that are not written
    again are removed, so that none of another run stays.

    Parameters
    ----------
    folder : Path
        Created where it is missing.
    frame : pandas.DataFrame
        Of `score_frame`.
    record : mapping
        settings, inputs, embedders, dropped, not_scored, warnings, software, ...: what tells how the scores were made.
    table : str
        Markdown for people.
    frames : mapping of str to pandas.DataFrame, optional
        Further tables by name of their file, .parquet or .tsv.
    """
    check_scores(frame)
    tables = {"scores.parquet": frame, "scores.tsv": frame, **(frames or {})}
    writers: dict[str, Callable[[Path], object]] = {
        **{name: partial(_write_table, each, name) for name, each in tables.items()},
        "scores.md": lambda path: path.write_text(table),
    }
    temporaries: dict[str, Path] = {}

    def write(name: str, writer: Callable[[Path], object]) -> None:
        temporaries[name] = temporary_beside(folder / name)
        writer(temporaries[name])
        flush_to_disk(temporaries[name])

    try:
        for name, writer in writers.items():
            write(name, writer)
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "n_scores": len(frame),
            "files": {name: sums_of(path) for name, path in temporaries.items()},
            **record,
        }
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write(RECORD, lambda path: path.write_text(text))
        stale = _files_of_record(folder) - set(temporaries)
        for name, temporary in temporaries.items():
            if name == RECORD:
                for old in stale:
                    (folder / old).unlink(missing_ok=True)
            temporary.rename(folder / name)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def _write_table(frame: pd.DataFrame, name: str, path: Path) -> None:
    if name.endswith(".parquet"):
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, sep="\t", index=False, lineterminator="\n")


def _files_of_record(folder: Path) -> set[str]:
    """Files in the folder that its scores.json names; none where there is no sound one."""
    try:
        return {name for name in _read_record(folder)["files"] if Path(name).name == name}
    except InputError:
        return set()


def _read_record(folder: Path) -> dict[str, Any]:
    """scores.json; InputError where it is missing, damaged or of another format."""
    path = folder / RECORD
    if not path.is_file():
        raise InputError(
            "There are no scores", where=str(folder), expected=f"scores.parquet and {RECORD} of `txfm evaluate`"
        )
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(
            "The record of the scores is damaged", where=str(path), found=str(error), todo="run the evaluation again"
        ) from error
    found = (
        (record.get("format"), record.get("format_version")) if isinstance(record, dict) else (type(record).__name__,)
    )
    if found != (FORMAT, FORMAT_VERSION):
        raise InputError(
            "These scores are of another format",
            where=str(path),
            expected=f"{FORMAT} {FORMAT_VERSION}",
            found=" ".join(map(str, found)),
            todo="run the evaluation again",
        )
    return record


def read_scores(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The frame and the record of a folder that `write_scores` wrote; every file is what the record says.

    Raises
    ------
    InputError
        There are no scores, they are of another format, or a file is missing, damaged or of another run.
    """
    record = _read_record(folder)
    for name, expected in record["files"].items():
        path = folder / name
        found = sums_of(path) if path.is_file() else "no such file"
        if found != expected:
            raise InputError(
                "Scores and their record do not belong together",
                where=str(path),
                expected=f"{expected}, as {RECORD} says",
                found=str(found),
                todo="run the evaluation again",
            )
    frame_path = folder / "scores.parquet"
    frame = pd.read_parquet(frame_path).astype({"seed": "Int64", "model_seed": "Int64"})
    check_scores(frame, str(frame_path))
    return frame, record
