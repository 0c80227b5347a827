# What all rules share: the checked plan, wildcard constraints, and the functions that rules call.
import fcntl
import json
import os
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from curation.ablation import refuse_equal_cells
from curation.acquire.source_files import host_load
from curation.errors import InputError
from curation.notice import notice
from curation.plan import read_plan
from txfm.config import config_from_mapping
from txfm.errors import InputError as ModelError
from txfm.evaluation.relation_files import lack_of_relations, relation_paths
from txfm.finetuning.changes import finetuning_config

ROOT = Path(workflow.basedir)

# `python -m curation` in a shell command is the interpreter that runs Snakemake and the packages of this checkout, also where
# .venv is not activated and with --directory or --software-deployment-method conda.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    PYTHONPATH=os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])]),
)

# Every name of the config is looked up here: a wrong one ends the run before any file is written.
try:
    PLAN = read_plan(config, ROOT)
    complete_models = {name: config_from_mapping(fields) for name, fields in PLAN.all_models.items()}
    if PLAN.ablation:
        refuse_equal_cells(PLAN.ablation, complete_models)
    for name, entry in PLAN.finetuning.items():
        try:
            finetuning_config(complete_models[entry.model], entry.set)
        except ModelError as error:
            raise WorkflowError(f"config, key finetuning.{name}.set: {error}") from None
except (InputError, ModelError) as error:
    raise WorkflowError(str(error)) from None
FINETUNED_FILES = {name: entry for name, entry in PLAN.finetuning.items() if entry.is_file}
if (PLAN.evaluation_files or FINETUNED_FILES) and workflow.is_main_process:
    from txfm.evaluation.sample_file import check_names

    made = {f"sources/{source}/{file}" for source, files in PLAN.sources.items() for file in files}
    try:
        for name, file in PLAN.evaluation_files.items():
            if Path(file.path).exists() or file.path not in made:
                key = f"config, key evaluation.files.{name}"
                check_names(Path(file.path), file.columns, file.obsm, key, file.labels)
        for name, entry in FINETUNED_FILES.items():
            if Path(entry.data).exists() or entry.data not in made:
                columns = {"batch_column": entry.batch_column}
                check_names(Path(entry.data), columns, [], f"config, key finetuning.{name}")
    except ModelError as error:
        raise WorkflowError(str(error)) from None
if PLAN.obstacles() and workflow.is_main_process:
    logger.warning("This release cannot build all of it:\n  " + "\n  ".join(PLAN.obstacles()))
BUILD = f"results/{PLAN.name}"
# (source, file) pairs, by what writes them.
SOURCE_FILES = [(source, file) for source, files in PLAN.sources.items() for file in files]
SIMULATED = [(source, file) for source, file in SOURCE_FILES if source in PLAN.simulated]
ARCHIVED = [(source, file) for source, file in SOURCE_FILES if PLAN.sources[source][file].archive]
FETCHED = [pair for pair in SOURCE_FILES if pair not in {*SIMULATED, *ARCHIVED}]


wildcard_constraints:
    **PLAN.constraints,
    name=re.escape(PLAN.name),


# Modules of curation that decide what a step writes: the step runs again when one of them changes (their text, not their
# time stamp). tests/test_code_inputs.py compares these lists with the imports. Training has none: a comment must not cost
# 864 GPU-hours, so model.json records the commit instead.
CODE = {
    "genes": ["axis.py", "gene_history.py", "readers/text.py"],
    "simulate": [
        "axis.py",
        "readers/text.py",
        "simulate/__init__.py",
        "simulate/atlases.py",
        "simulate/axis_names.py",
        "simulate/bulk.py",
        "simulate/bulk_files.py",
        "simulate/candidates.py",
        "simulate/cells.py",
        "simulate/checksums.py",
        "simulate/draws.py",
        "simulate/gene_fates.py",
        "simulate/gene_table.py",
        "simulate/h5ad_file.py",
        "simulate/perturbations.py",
        "simulate/rehearsal.py",
        "simulate/screen.py",
        "simulate/study.py",
        "simulate/symbol_table.py",
        "simulate/triplet_files.py",
        "simulate/truth.py",
    ],
    "curate": [
        "axis.py",
        "blocks.py",
        "build.py",
        "copies.py",
        "count_kind.py",
        "counts.py",
        "digest.py",
        "file_sums.py",
        "fingerprint.py",
        "gene_advice.py",
        "gene_ids.py",
        "genes.py",
        "in_order.py",
        "intake.py",
        "json_file.py",
        "judge.py",
        "kind_evidence.py",
        "labels.py",
        "obs_writer.py",
        "qc.py",
        "readers/__init__.py",
        "readers/anndata_file.py",
        "readers/column_choice.py",
        "readers/dense_rows.py",
        "readers/dense_text.py",
        "readers/frames.py",
        "readers/gct.py",
        "readers/h5ad.py",
        "readers/id_lists.py",
        "readers/loom.py",
        "readers/matrix_market.py",
        "readers/matrix_reader.py",
        "readers/metadata.py",
        "readers/mtx.py",
        "readers/number_rows.py",
        "readers/read_ahead.py",
        "readers/row_spool.py",
        "readers/sparse_rows.py",
        "readers/star_counts.py",
        "readers/tenx_h5.py",
        "readers/text.py",
        "readers/triplet_spool.py",
        "readers/triplets.py",
        "readers/windows.py",
        "readers/zarr_store.py",
        "recipe.py",
        "repeats.py",
        "report.py",
        "scratch.py",
        "shards.py",
        "slots.py",
        "split.py",
        "spool.py",
        "store.py",
        "study_reader.py",
        "tally.py",
        "value_traits.py",
    ],
    "assemble": [
        "axis.py",
        "corpus.py",
        "digest.py",
        "file_sums.py",
        "fingerprint.py",
        "json_file.py",
        "overlap.py",
        "readers/text.py",
        "variant_manifest.py",
    ],
    "compose": [
        "axis.py",
        "corpus.py",
        "digest.py",
        "file_sums.py",
        "fingerprint.py",
        "json_file.py",
        "overlap.py",
        "readers/text.py",
        "variant_manifest.py",
    ],
    "verify": [
        "axis.py",
        "corpus.py",
        "digest.py",
        "file_sums.py",
        "fingerprint.py",
        "in_order.py",
        "json_file.py",
        "labels.py",
        "manifest_check.py",
        "obs_writer.py",
        "overlap.py",
        "qc.py",
        "readers/text.py",
        "recipe.py",
        "shard_reader.py",
        "shards.py",
        "store.py",
        "variant_manifest.py",
        "verify.py",
        "verify_files.py",
        "verify_matrix.py",
        "verify_obs.py",
        "verify_store.py",
        "verify_variant.py",
    ],
}

# Compute of one training. nano: two trainings side by side on two cores take less time than one after the other on both.
TRAINING = {"nano": {"threads": 1, "gpu": 0, "mem_mb": 4_000, "runtime": 60}}
TRAINING_ON_GPU = {"threads": 8, "gpu": 1, "mem_mb": 64_000, "runtime": 7 * 24 * 60}

# Of 1.9 million cells: benchmarks/consistency.py.
PCA_OF_A_SCREEN = {"threads": 2, "gpu": 0, "mem_mb": 4_000}


def code(step):
    """Return the modules of a step, relative to the working folder, so that a moved checkout rebuilds nothing."""
    return [os.path.relpath(ROOT / "curation" / module) for module in CODE[step]]


def any_of(values):
    """Return a regular expression for exactly these values; one that matches nothing if there are none."""
    return "|".join(sorted({re.escape(value) for value in values})) or "(?!)"


def source_of(pairs):
    """Return a constraint of the wildcard source: source and file together are one of these (source, file) pairs."""
    return f"(?=(?:{any_of('/'.join(pair) for pair in pairs)})$)[^/]+"


def study_of(pairs):
    """Return a constraint of the wildcard study: study and recipe together are one of these (study, recipe) pairs."""
    return f"(?=(?:{any_of('.'.join(pair) for pair in pairs)})\\.)(?:{PLAN.constraints['study']})"


def source_files(source):
    """Return the files of a study or annotation entry."""
    return [f"sources/{source}/{path}" for path in PLAN.files(source)]


def file_entry(wildcards):
    """Return a file's entry without its prose: a better note must not download 66 GB again."""
    entry = json.loads(PLAN.file_json(wildcards.source, wildcards.file))
    return json.dumps(
        {key: value for key, value in entry.items() if key not in {"note", "size_about", "status"}}, sort_keys=True
    )


def archive(wildcards):
    """Return the archive that a file is a member of."""
    return f"sources/{wildcards.source}/{PLAN.sources[wildcards.source][wildcards.file].archive}"


def connections(host):
    """Return a function of the wildcards: how many connections to a public host a file takes."""

    def taken(wildcards):
        found, count = host_load(PLAN.sources[wildcards.source][wildcards.file])
        return count if found == host else 0

    return taken


def study_files(wildcards):
    """Return what curating a study reads: its files, and its recipe's table of p-values, if that is computed or exists."""
    table = PLAN.phenoprint_of(wildcards.recipe)
    made = table and (PLAN.recipes[wildcards.recipe].phenoprints_from or Path(table).exists())
    return source_files(wildcards.study) + ([table] if made else [])


def qc_reports(pairs):
    """Return the QC reports of (study, recipe) pairs."""
    return [f"{BUILD}/qc/{study}.{recipe}.json" for study, recipe in pairs]


def stores(pairs):
    """Return the train and validation stores of (study, recipe) pairs; those of no variant lie outside the corpus."""
    return [
        f"{BUILD}/{'screens' if pair in PLAN.screen_pairs else 'corpus/stores'}/{'.'.join(pair)}.{split}.zarr/zarr.json"
        for pair in pairs
        for split in ("train", "validation")
    ]


def evaluation_stores():
    """Return the store of each study that is evaluated, by study."""
    return {study: f"{BUILD}/evaluation/{study}.{recipe}.zarr" for study, recipe in PLAN.evaluation_pairs}


def stores_left_out(wildcards):
    """Return the stores whose samples the stores of a study and recipe leave out."""
    pairs = PLAN.left_out.get((wildcards.study, wildcards.recipe), ())
    held_out = [
        f"{path}/zarr.json" for study, path in evaluation_stores().items() if (study, PLAN.evaluation[study]) in pairs
    ]
    return stores([pair for pair in pairs if pair in PLAN.curated_pairs]) + held_out


def members(wildcards):
    """Return the (study, recipe) pairs of a variant."""
    return PLAN.all_variants[wildcards.variant].studies.items()


def trained_models():
    """Return the folders of all models."""
    return [f"{BUILD}/models/{variant}.{model}.s{seed}" for variant, model, seed in PLAN.runs]


def fitted_baselines():
    """Return the folders of all baselines."""
    return [f"{BUILD}/baselines/{variant}.{baseline}" for variant in PLAN.variants for baseline in PLAN.baselines]


def evaluated():
    """Return the folders of what evaluations compare: trained models, then baselines."""
    return [*trained_models(), *fitted_baselines()]


@cache
def warn_once(text):
    """Say something before the first job, however many rules ask for what it is about."""
    if workflow.is_main_process:
        logger.warning(text)


def grid(wildcards):
    """Return the folders of the grid's models; the config is asked for a grid only where a target needs one."""
    try:
        ablation = PLAN.grid()
    except InputError as error:
        raise WorkflowError(str(error)) from None
    if ablation.lack_of_seeds:
        warn_once(ablation.lack_of_seeds)
    return [f"{BUILD}/models/{variant}.{model}.s{seed}" for variant, model, seed in ablation.runs]


def grid_files(wildcards):
    """Return the files of the grid's models."""
    return [f"{folder}/{file}" for folder in grid(wildcards) for file in ("model.safetensors", "model.json")]


def benchmark_folders(parent):
    """Return the folders of the selected benchmarks below `parent`, layers aside; there are none without models."""
    by_label = [
        f"{parent}/{study}.{'perturbation' if label == 'perturbation' else 'cells'}"
        for study, label in PLAN.evaluation_labels.items()
    ]
    chosen = {"study": by_label, "genes": [f"{parent}/genes"]}
    return [folder for name, folders in chosen.items() if name in PLAN.benchmarks for folder in folders]


def file_folders():
    """Return the folders of scores on the user's own files."""
    return [f"{BUILD}/evaluation/{name}.{file.benchmark}" for name, file in PLAN.evaluation_files.items()]


def scored(folders):
    """Return the file that is the last of each folder of scores."""
    return [f"{folder}/scores.json" for folder in folders]


def relations():
    """Return the files of related genes that are here, so that the genes are scored again where others come."""
    folder = PLAN.relations and Path(PLAN.relations)
    return [] if lack_of_relations(folder) else [str(path) for path in relation_paths(folder).values()]


def relations_option():
    """Return the options of a benchmark for related genes, which may be missing."""
    return " ".join([*(["--relations", shlex.quote(PLAN.relations)] if PLAN.relations else []), "--without-relations"])


def gene_types_option(wildcards, input):
    """Return the option of the gene benchmark for types of genes, which a table of ids and names does not have."""
    return "" if PLAN.annotation.format == "id_name_csv" else f"--gene-types {shlex.quote(str(input.gene_types))}"


def true_modules():
    """Return the file of the simulated screen whose modules of genes are known."""
    return [f"sources/{source}/{file}" for source, file in SIMULATED if source == PLAN.true_modules]


def modules_option(wildcards, input):
    """Return the options of the gene benchmark for modules; they are sought where they are known."""
    return f"--modules --truth {shlex.quote(str(input.truth[0]))}" if input.truth else ""


def benchmark_columns(wildcards):
    """Return the options of the benchmark that a study's label asks for."""
    named = f"--study {wildcards.study} --name {wildcards.study}"
    if wildcards.benchmark == "perturbation":
        return f"{named} {relations_option()}"
    return f"{named} --label {PLAN.evaluation_labels[wildcards.study]} --batch batch"


def file_options(wildcards):
    """Return the options of the benchmark of a user's own file."""
    options = f"--name {wildcards.file} {shlex.join(PLAN.evaluation_files[wildcards.file].options)}"
    return f"{options} {relations_option()}" if wildcards.benchmark == "perturbation" else options


def layer_columns(wildcards):
    """Return the columns that layers are scored by."""
    label = PLAN.evaluation_labels[wildcards.study]
    return f"{'--perturbation' if label == 'perturbation' else '--label'} {label} --batch batch"


def training_needs(model, field):
    """Look up what one training of a model needs."""
    return TRAINING.get(PLAN.all_models[model].get("preset"), TRAINING_ON_GPU)[field]


def training(field):
    """Return a function of the wildcards that looks up what one training needs."""
    return lambda wildcards: training_needs(wildcards.model, field)


def finetuning(field):
    """Return a function of the wildcards that looks up what a fine-tuning needs: as much as one training."""
    return lambda wildcards: training_needs(PLAN.finetuning[wildcards.finetuning].model, field)


def finetuned_on(wildcards):
    """Return what a fine-tuning reads its samples from: a file, or a variant's manifest."""
    entry = PLAN.finetuning[wildcards.finetuning]
    return entry.data if entry.is_file else f"{BUILD}/corpus/variants/{entry.data}.json"


def parent_model(file):
    """Return a function of the wildcards: a file of the model that a fine-tuning starts from."""
    return lambda wildcards: f"{BUILD}/models/{PLAN.finetuning[wildcards.finetuning].parent}/{file}"


def overview(wildcards):
    """Return corpus.json, which model.json records; a new study in it is no reason to train on a variant without it again.

    None for a model that finds phenoprints: the corpus waits for what it finds.
    """
    run = (wildcards.variant, wildcards.model, int(wildcards.seed))
    finders = {(entry.variant, entry.model, entry.seed) for entry in PLAN.phenoprints.values()}
    return [] if run in finders else ancient(f"{BUILD}/corpus/corpus.json")


def screen_stores(wildcards):
    """Return the stores of the screen that a table of phenoprints is of."""
    entry = PLAN.phenoprints[wildcards.phenoprint]
    return stores([(entry.study, entry.recipe)])


def embedder(wildcards):
    """Return the files of the model that embeds a screen; none for PCA."""
    entry = PLAN.phenoprints[wildcards.phenoprint]
    folder = f"{BUILD}/models/{entry.variant}.{entry.model}.s{entry.seed}"
    return [] if entry.embedding == "pca" else [f"{folder}/model.safetensors", f"{folder}/model.json"]


def embedding(field):
    """Return a function of the wildcards that looks up what embedding a screen needs; PCA is far below one training."""

    def needed(wildcards):
        model = PLAN.phenoprints[wildcards.phenoprint].model
        return (
            TRAINING.get(PLAN.models[model].get("preset"), TRAINING_ON_GPU)[field] if model else PCA_OF_A_SCREEN[field]
        )

    return needed


def hold_folder():
    """Let one run at a time work in this folder, until its process ends.

    Snakemake's own lock is a file that a killed run leaves behind, so that the same command does not run again; profiles/default
    switches it off. The system drops this one with the process, even after kill -9.
    """
    global folder_lock
    folder_lock = open(".snakemake/running", "w")
    try:
        fcntl.flock(folder_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError(f"another run works in {Path.cwd()}: wait for it, or end it") from None


def products(kind):
    """Return the files that a target asks for."""
    files = {
        "sources": [f"sources/{source}/{file}" for source, file in [*FETCHED, *ARCHIVED]],
        "notice": [f"{BUILD}/corpus/NOTICE"],
        "corpora": [
            f"{BUILD}/corpus/corpus.json",
            f"{BUILD}/corpus/NOTICE",
            *(f"{BUILD}/corpus/variants/{variant}.json" for variant in PLAN.variants),
            *qc_reports(PLAN.evaluation_pairs),
        ],
        "audit": [f"{BUILD}/audit.txt"],
        "tables": [f"{BUILD}/evaluation/{study}.table.json" for study in PLAN.evaluation_labels if PLAN.runs],
        "benchmarks": scored(
            [
                *benchmark_folders(f"{BUILD}/evaluation"),
                *file_folders(),
                *(
                    f"{BUILD}/evaluation/{study}.layers"
                    for study in PLAN.evaluation_labels
                    if "layers" in PLAN.benchmarks
                ),
            ]
            if PLAN.runs
            else []
        ),
        "ablation": [f"{BUILD}/ablation/{PLAN.ablation.name}.json"] if PLAN.ablation else grid,
        "finetuned": [f"{BUILD}/finetuned/{name}/finetune.json" for name in PLAN.finetuning],
        "report": [f"{BUILD}/report.html"],
    }
    return files[kind]
