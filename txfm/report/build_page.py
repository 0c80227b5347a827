"""From a results folder to its page."""

from pathlib import Path

from txfm.files import temporary_beside
from txfm.report.benchmark_sections import benchmarks_section
from txfm.report.charts import NOT_INSTALLED, is_installed
from txfm.report.corpus_sections import (
    batches_section,
    counts_section,
    drops_section,
    genes_section,
    studies_section,
    variants_section,
)
from txfm.report.finetuning_section import finetuning_section
from txfm.report.model_sections import evaluation_section, maps_section, models_section
from txfm.report.page import Section, render, study_cell
from txfm.report.results import Build, read_build
from txfm.report.tables import Column, Table, number, words, write_tables


def build_page(results: Path, out: Path) -> int:
    """Write the page of a build, its pictures into figures/ (SVG, PNG, parquet), its tables into figures/tables/.

    Parameters
    ----------
    results : Path
        results/<name>.
    out : Path
        The page.

    Returns
    -------
    int
        Size of the page in bytes.

    Raises
    ------
    InputError
        There is no corpus in the folder.
    """
    build = read_build(results, out.parent)
    figures = results / "figures"
    sections = [
        studies_section(build),
        variants_section(build, figures),
        drops_section(build, figures),
        genes_section(build, figures),
        counts_section(build, figures),
        batches_section(build),
        models_section(build, figures),
        *([finetuning_section(build, figures)] if build.finetuned else []),
        maps_section(build, figures),
        evaluation_section(build, figures),
        benchmarks_section(build, figures),
        opening_section(build),
        sources_section(build),
    ]
    write_tables([table for section in sections for table in section.all_tables()], figures / "tables")
    notes = [] if is_installed() else [NOT_INSTALLED]
    page = render(build.name, facts(build), sorted(build.simulated), sections, build.address(figures), notes)
    temporary = temporary_beside(out)
    temporary.write_text(page)
    temporary.rename(out)
    return len(page.encode())


def facts(build: Build) -> list[tuple[str, str]]:
    """The numbers at the top of the page."""
    n_samples = dict.fromkeys(("train", "validation"), 0)
    for store in build.corpus["stores"]:
        n_samples[store["split"]] += store["n_samples"]
    return [
        ("studies", f"{len({store['study'] for store in build.corpus['stores']}):,}"),
        ("training samples", f"{n_samples['train']:,}"),
        ("validation samples", f"{n_samples['validation']:,}"),
        ("genes on the axis", f"{build.corpus['gene_axis']['n_genes']:,}"),
        ("variants", f"{len(build.variants):,}"),
        ("models", f"{len(build.models):,}"),
    ]


def opening_section(build: Build) -> Section:
    """How to use what was built."""
    corpus = f"results/{build.name}/corpus"
    store = build.corpus["stores"][0]["path"]
    variant = build.variants[0]["name"] if build.variants else "VARIANT"
    model = build.models[0].name if build.models else f"{variant}.MODEL.s0"
    anndata_lines = f'import anndata\n\nstore = anndata.read_zarr("{corpus}/{store}")\nprint(store.X[:5].sum(axis=1))'
    reader_lines = (
        f'import txfm\n\nfor batch in txfm.open_corpus("{corpus}", "{variant}", "train", batch_size=256, seed=0):\n'
        "    print(batch.sample_ids[:3], batch.counts.sum())"
    )
    commands = "\n".join(
        [
            f"python -m curation verify {corpus}",
            f"python -m txfm embed results/{build.name}/models/{model} INPUT.h5ad --out EMBEDDED.h5ad",
            f"python -m txfm report --results results/{build.name} --out results/{build.name}/report.html",
        ]
    )
    return Section(
        key="open",
        title="How to open it",
        paragraphs=[
            "Stores are plain AnnData in Zarr, with raw counts: nothing of this project is needed to read them."
        ],
        code=[
            ("With anndata", anndata_lines),
            ("As a stream of training batches", reader_lines),
            ("From the command line", commands),
        ],
    )


def sources_section(build: Build) -> Section:
    """Files and versions that the corpus was made from."""
    titles = {study: title for (study, _), title in build.titles().items()}
    files = [
        {"study": titles[study]} | {name: entry[name] for name in ("file", "size", "sha256")}
        for study, entries in sorted(build.corpus["sources"].items())
        for entry in entries
    ]
    versions = [{"tool": tool, "version": version} for tool, version in build.corpus["tools"].items()]
    return Section(
        key="sources",
        title="Sources and versions",
        tables=[
            Table(
                name="sources",
                caption=f"{len(files):,} source files",
                columns=[
                    Column(title="study", text=lambda record: study_cell(record["study"])),
                    words("file", "file"),
                    number("bytes", "size"),
                    words("sha256", "sha256"),
                ],
                records=files,
                folded=True,
            ),
            Table(
                name="versions",
                caption="Versions",
                columns=[words("tool", "tool"), words("version", "version")],
                records=versions,
                folded=True,
            ),
        ],
    )
