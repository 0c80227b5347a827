"""The catalogue of sources: what crosses from the YAML sheets to every later step."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from curation.catalog_check import check_alternatives, check_do_not_use, check_files, check_pattern
from curation.errors import InputError
from curation.remote_file import HISTORY_FILES, Annotation, Reference, RemoteFile
from curation.schema_check import check, load_yaml, nearest, with_defaults

__all__ = [
    "Annotation",
    "Catalog",
    "Obs",
    "ObsSource",
    "Part",
    "Reference",
    "RemoteFile",
    "SampleFilter",
    "Study",
    "read_catalog",
]

SCHEMA = Path(__file__).parent / "catalog" / "schema.yaml"


@dataclass(frozen=True, kw_only=True)
class ObsSource:
    """Where one column of a store comes from; exactly one attribute is set.

    Attributes
    ----------
    column : str or None
        A column of the source's own metadata.
    pattern : str or None
        A regular expression that every sample id of the study matches; its first group is the value.
    constant : str or None
        One value for all samples.
    part : bool
        The name of the sample's part.
    """

    column: str | None = None
    pattern: str | None = None
    constant: str | None = None
    part: bool = False

    def __post_init__(self) -> None:
        chosen = [self.column is not None, self.pattern is not None, self.constant is not None, self.part]
        assert sum(chosen) == 1, "an obs source has exactly one form"


@dataclass(frozen=True, kw_only=True)
class Obs:
    """Where the columns of a store come from; None for a column that the study does not record.

    `technology` is the instrument and chemistry of a sample (10x 3' v3, Smart-seq2). `guide` is a fact about the source
    that no store has a column for.
    """

    batch: ObsSource | None = None
    perturbation: ObsSource | None = None
    cell_type: ObsSource | None = None
    cell_line: ObsSource | None = None
    donor: ObsSource | None = None
    tissue: ObsSource | None = None
    technology: ObsSource | None = None
    guide: ObsSource | None = None
    control_labels: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, ObsSource]:
        """Store column -> where it comes from, recorded columns only."""
        found = {
            entry.name: getattr(self, entry.name)
            for entry in dataclasses.fields(self)
            if entry.name not in ("control_labels", "guide")
        }
        return {name: source for name, source in found.items() if source is not None}


@dataclass(frozen=True, kw_only=True)
class SampleFilter:
    """Keep samples by a column of the source's metadata: `keep` lists what stays, or `drop` what goes."""

    column: str
    reason: str
    keep: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None

    def keeps(self, value: str) -> bool:
        """Return whether a sample with this value stays."""
        if self.keep is not None:
            return value in self.keep
        return value not in (self.drop or ())


@dataclass(frozen=True, kw_only=True)
class Part:
    """One table of a study, with its own genes.

    Attributes
    ----------
    name : str
    format : str
        Name of a reader, one of `curation.readers.READERS`.
    files : mapping of str to str
        Role (matrix, features, barcodes, metadata) -> `RemoteFile.path`.
    orientation : str or None
        genes_by_samples or samples_by_genes, for dense_text, and for mtx where the lists are equally long.
    matrix : str
        Where an h5ad, zarr or loom file keeps raw counts: auto, X, raw/X or layers/NAME.
    gene_column : str or None
        Column of var (loom: of the row attributes) that holds the gene ids; None for its index.
    genome : str or None
        Genome of a 10x_h5 file that holds several; None where it holds one.
    constants : mapping of str to str
        Store columns with one value for the whole part.
    """

    name: str
    format: str
    files: Mapping[str, str]
    orientation: str | None = None
    matrix: str = "auto"
    gene_column: str | None = None
    genome: str | None = None
    constants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A source with a citation. Field meanings and units stand in curation/catalog/schema.yaml.

    `files` maps `RemoteFile.path` to the file; `expected` is None or {"n_samples", "n_genes"}; `publication_key` is the
    hold-out key (publication, context); `count_kinds_by_technology` maps values of `obs.technology` to a kind that
    differs from `count_kind`; `simulation` is None or the parameters of `curation simulate`.
    """

    name: str
    title: str
    citation: Mapping[str, Any]
    licence: str
    role: str
    publication_key: tuple[str, str]
    assay: str
    organism: str
    simulated: bool
    count_kind: str
    gene_ids: str
    gene_prefix_keep: str | None
    expected: Mapping[str, int] | None
    obs: Obs
    filters: tuple[SampleFilter, ...]
    parts: tuple[Part, ...]
    files: Mapping[str, RemoteFile]
    count_kinds_by_technology: Mapping[str, str] = field(default_factory=dict)
    simulation: Mapping[str, Any] | None = None
    alternatives: tuple[Mapping[str, Any], ...] = ()
    do_not_use: tuple[Mapping[str, Any], ...] = ()
    notes: str = ""
    status: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return every field as one line of JSON with sorted keys."""
        fields = dataclasses.asdict(self)
        fields["files"] = {path: file.to_mapping() for path, file in self.files.items()}
        if self.obs.guide is None:
            del fields["obs"]["guide"]
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Study:
        """Read what `to_json` wrote."""
        return cls.from_mapping(json.loads(text))

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> Study:
        """Build from a sheet's entry (with its name and all defaults) or from parsed JSON."""
        obs = dict(fields["obs"])
        labels = tuple(obs.pop("control_labels", ()))
        columns = {name: ObsSource(**source) for name, source in obs.items() if source is not None}
        refused = {
            entry["md5"]: f"{entry['name']}: {entry['why']}" for entry in fields["do_not_use"] if entry.get("md5")
        }
        files = {
            path: RemoteFile.from_mapping({"refused_md5": refused, **entry, "path": path})
            for path, entry in fields["files"].items()
        }
        built = {
            "publication_key": tuple(fields["publication_key"]),
            "obs": Obs(control_labels=labels, **columns),
            "filters": tuple(SampleFilter(**_tuples(entry, "keep", "drop")) for entry in fields["filters"]),
            "parts": tuple(Part(**entry) for entry in fields["parts"]),
            "files": files,
            "alternatives": tuple(fields["alternatives"]),
            "do_not_use": tuple(fields["do_not_use"]),
        }
        return cls(**{**fields, **built})

    def for_curation(self) -> Study:
        """Return the study without what no store shows, so that a better note does not curate it again."""
        return dataclasses.replace(
            self,
            title="",
            citation={},
            licence="",
            obs=dataclasses.replace(self.obs, guide=None),
            alternatives=(),
            do_not_use=(),
            notes="",
            status={},
        )


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All studies, gene tables and reference tables of some sheets, by name."""

    studies: Mapping[str, Study]
    annotation: Mapping[str, Annotation]
    references: Mapping[str, Reference] = field(default_factory=dict)


def read_catalog(paths: Iterable[Path]) -> Catalog:
    """Read and check sheets.

    Parameters
    ----------
    paths : iterable of Path
        YAML sheets; see curation/catalog/schema.yaml.

    Raises
    ------
    InputError
        A sheet is missing, does not follow the schema, contradicts itself, or repeats a name of another sheet.
    """
    studies: dict[str, Study] = {}
    tables: dict[str, tuple[Path, dict[str, Any]]] = {}
    references: dict[str, Reference] = {}
    for path in paths:
        sheet = load_yaml(path)
        check(sheet, _schema(), where=str(path))
        sheet = with_defaults(sheet, _schema())
        for name, entry in sheet.get("studies", {}).items():
            _refuse_repeated(name, {**studies, **tables, **references}, path)
            studies[name] = Study.from_mapping({**entry, "name": name})
            _check_study(studies[name], where=f"{path}, key studies.{name}")
        for name, entry in sheet.get("annotation", {}).items():
            _refuse_repeated(name, {**studies, **tables, **references}, path)
            tables[name] = (path, entry)
        for name, entry in sheet.get("references", {}).items():
            _refuse_repeated(name, {**studies, **tables, **references}, path)
            references[name] = _reference(name, entry, where=f"{path}, key references.{name}")
    annotation = {name: _annotation(name, tables, references) for name in tables}
    return Catalog(studies=studies, annotation=annotation, references=references)


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = load_yaml(SCHEMA)
    return schema


def _tuples(entry: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: tuple(value) if key in keys and value is not None else value for key, value in entry.items()}


def _annotation(
    name: str, tables: Mapping[str, tuple[Path, dict[str, Any]]], references: Mapping[str, Reference]
) -> Annotation:
    path, entry = tables[name]
    hgnc = entry["hgnc"]
    if hgnc is not None and (hgnc not in tables or tables[hgnc][1]["format"] != "hgnc_tsv"):
        of_hgnc = [other for other, (_, fields) in tables.items() if fields["format"] == "hgnc_tsv"]
        raise InputError(
            f"{hgnc!r} is no annotation entry with HGNC's names",
            where=f"{path}, key annotation.{name}.hgnc",
            expected="the name of an entry with format hgnc_tsv, or null",
            todo=nearest(hgnc, of_hgnc),
        )
    files = _files(entry["files"])
    check_files(files, where=f"{path}, key annotation.{name}")
    check_alternatives(entry["alternatives"], where=f"{path}, key annotation.{name}")
    return Annotation(
        name=name,
        format=entry["format"],
        licence=entry["licence"],
        file=next(iter(files.values())),
        hgnc=_annotation(hgnc, tables, references) if hgnc is not None else None,
        history=_history(entry["history"], references, where=f"{path}, key annotation.{name}.history"),
        ensembl_release=entry["ensembl_release"],
        notes=entry["notes"],
        title=entry["title"],
        citation=entry.get("citation", {}),
        alternatives=tuple(entry["alternatives"]),
        status=entry.get("status", {}),
    )


def _history(name: str | None, references: Mapping[str, Reference], *, where: str) -> Reference | None:
    """Return the reference with the history of gene ids, of its files only those that the axis needs."""
    if name is None:
        return None
    known = [other for other, reference in references.items() if set(HISTORY_FILES) <= set(reference.files)]
    if name not in known:
        raise InputError(
            f"{name!r} is no reference with the history of Ensembl's ids",
            where=where,
            expected=f"the name of a reference with the files {' and '.join(HISTORY_FILES)}, or null",
            todo=nearest(name, known),
        )
    reference = references[name]
    return dataclasses.replace(reference, files={path: reference.files[path] for path in HISTORY_FILES})


def _reference(name: str, entry: Mapping[str, Any], *, where: str) -> Reference:
    built = {"files": _files(entry["files"]), "alternatives": tuple(entry["alternatives"])}
    reference = Reference(**{**entry, **built, "name": name})
    check_files(reference.files, where=where)
    check_alternatives(reference.alternatives, where=where)
    return reference


def _files(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, RemoteFile]:
    return {path: RemoteFile.from_mapping({**entry, "path": path}) for path, entry in entries.items()}


def _refuse_repeated(name: str, known: Iterable[str], path: Path) -> None:
    if name in known:
        raise InputError(
            f"the name {name!r} is used twice",
            where=str(path),
            expected="a name that no other study, annotation or reference of the loaded sheets has",
            todo="rename one of the two entries",
        )


def _check_study(study: Study, *, where: str) -> None:
    """Check what a schema cannot say."""
    check_files(study.files, where=where, simulated=study.simulation is not None)
    check_alternatives(study.alternatives, where=where)
    check_do_not_use(study.files, study.do_not_use, where=where)
    names = [part.name for part in study.parts]
    if len(set(names)) < len(names):
        raise InputError("two parts have the same name", where=f"{where}.parts", found=", ".join(names))
    for part in study.parts:
        for role, path in part.files.items():
            if path not in study.files:
                raise InputError(
                    f"the {role} file of part {part.name!r} is not among the study's files",
                    where=f"{where}.parts",
                    found=path,
                    todo=nearest(path, study.files),
                )
    for label, source in study.obs.columns.items():
        if source.pattern is not None:
            check_pattern(source.pattern, where=f"{where}.obs.{label}.pattern")
    if study.count_kinds_by_technology and study.obs.technology is None:
        raise InputError(
            "`count_kinds_by_technology` needs to know the technology of each sample",
            where=where,
            expected="`obs.technology`, such as {column: assay}",
            found="no `obs.technology`",
            todo="say where the technology comes from, or give the study one `count_kind`",
        )
    if study.simulation is not None and not study.simulated:
        raise InputError(
            "a study with `simulation` says that it is simulated",
            where=where,
            expected="`simulated: true`, so that every store marks its counts",
            found="no `simulated: true`",
            todo="add it, or remove `simulation`",
        )
