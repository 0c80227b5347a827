# Steps 3 to 6: from a study's files to its stores and its QC report.
# A store is declared by its zarr.json, which holds the digest of its content: what follows runs again only where the content
# differs. (Into a directory() Snakemake writes a file of its own, which Zarr warns of.)
rule curate:
    input:
        study_files,
        others=stores_left_out,
        genes="results/{name}/corpus/genes.parquet",
        names="results/{name}/corpus/gene_names.parquet",
        code=code("curate"),
    output:
        train="results/{name}/corpus/stores/{study}.{recipe}.train.zarr/zarr.json",
        validation="results/{name}/corpus/stores/{study}.{recipe}.validation.zarr/zarr.json",
        report=report(
            "results/{name}/qc/{study}.{recipe}.json",
            caption="../report/qc.rst",
            category="Quality control",
        ),
    log:
        "results/{name}/logs/curate/{study}.{recipe}.log",
    benchmark:
        "results/{name}/benchmarks/curate/{study}.{recipe}.tsv"
    wildcard_constraints:
        study=study_of(PLAN.training_pairs),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=16_000,
        runtime=24 * 60,
    params:
        study=lambda wildcards: PLAN.study_json(wildcards.study),
        recipe=lambda wildcards: PLAN.recipe_json(wildcards.recipe),
        split=PLAN.split_json(),
        train=subpath(output.train, parent=True),
        validation=subpath(output.validation, parent=True),
        others=lambda wildcards, input: [str(Path(path).parent) for path in input.others],
    shell:
        "python -m curation curate --study {params.study:q} --recipe {params.recipe:q} --recipe-name {wildcards.recipe}"
        " --split {params.split:q} --genes {input.genes:q} --sources sources/{wildcards.study}"
        " --other-stores {params.others:q}"
        " --train {params.train:q} --validation {params.validation:q} --report {output.report:q} > {log:q} 2>&1"


# A screen that is read for its phenoprints alone is in no variant, so it lies outside the corpus: who copies that folder has
# what corpus.json lists and nothing else.
use rule curate as curate_screen with:
    output:
        train="results/{name}/screens/{study}.{recipe}.train.zarr/zarr.json",
        validation="results/{name}/screens/{study}.{recipe}.validation.zarr/zarr.json",
        report=report(
            "results/{name}/qc/{study}.{recipe}.json",
            caption="../report/qc.rst",
            category="Quality control",
        ),
    wildcard_constraints:
        study=study_of(PLAN.screen_pairs),


rule curate_evaluation:
    input:
        study_files,
        genes="results/{name}/corpus/genes.parquet",
        names="results/{name}/corpus/gene_names.parquet",
        code=code("curate"),
    output:
        evaluation="results/{name}/evaluation/{study}.{recipe}.zarr/zarr.json",
        report=report(
            "results/{name}/qc/{study}.{recipe}.json",
            caption="../report/qc.rst",
            category="Quality control",
        ),
    log:
        "results/{name}/logs/curate/{study}.{recipe}.log",
    benchmark:
        "results/{name}/benchmarks/curate/{study}.{recipe}.tsv"
    wildcard_constraints:
        study=study_of(PLAN.evaluation_pairs),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=16_000,
        runtime=24 * 60,
    params:
        study=lambda wildcards: PLAN.study_json(wildcards.study),
        recipe=lambda wildcards: PLAN.recipe_json(wildcards.recipe),
        split=PLAN.split_json(),
        evaluation=subpath(output.evaluation, parent=True),
    shell:
        "python -m curation curate-evaluation --study {params.study:q} --recipe {params.recipe:q} --recipe-name {wildcards.recipe}"
        " --split {params.split:q} --genes {input.genes:q} --sources sources/{wildcards.study}"
        " --evaluation {params.evaluation:q} --report {output.report:q} > {log:q} 2>&1"
