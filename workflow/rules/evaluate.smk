# A baseline of the same training samples as a variant's models, as a model's folder.
rule baseline:
    input:
        corpus=ancient("results/{name}/corpus/corpus.json"),
        variant="results/{name}/corpus/variants/{variant}.json",
    output:
        weights="results/{name}/baselines/{variant}.{baseline}/model.safetensors",
        config="results/{name}/baselines/{variant}.{baseline}/model.json",
    log:
        "results/{name}/logs/baseline/{variant}.{baseline}.log",
    benchmark:
        "results/{name}/benchmarks/baseline/{variant}.{baseline}.tsv"
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=16_000,
        runtime=24 * 60,
    params:
        corpus=subpath(input.variant, ancestor=2),
        folder=subpath(output.weights, parent=True),
    shell:
        "python -m txfm baseline {wildcards.baseline} --corpus {params.corpus:q} --variant {wildcards.variant}"
        " --out {params.folder:q} > {log:q} 2>&1"


# How well the models know a study that none of them was trained on, beside PCA of the same training stores.
rule evaluate:
    input:
        store=lambda wildcards: f"{BUILD}/evaluation/{wildcards.study}.{PLAN.evaluation[wildcards.study]}.zarr/zarr.json",
        corpus=ancient("results/{name}/corpus/corpus.json"),
        variants=expand("results/{{name}}/corpus/variants/{variant}.json", variant=PLAN.variants),
        models=[f"{folder}/{file}" for folder in evaluated() for file in ("model.safetensors", "model.json")],
    output:
        table=report(
            "results/{name}/evaluation/{study}.table.json",
            caption="../report/table.rst",
            category="Evaluation",
        ),
        text=multiext("results/{name}/evaluation/{study}.table", ".md", ".tsv"),
    log:
        "results/{name}/logs/evaluate/{study}.log",
    benchmark:
        "results/{name}/benchmarks/evaluate/{study}.tsv"
    wildcard_constraints:
        study=any_of(PLAN.evaluation_labels),
    conda:
        "../../environment.yml"
    threads: 8
    resources:
        mem_mb=16_000,
        runtime=12 * 60,
    params:
        store=subpath(input.store, parent=True),
        label=lambda wildcards: PLAN.evaluation_labels[wildcards.study],
        corpus=subpath(input.corpus, parent=True),
        folders=evaluated(),
    shell:
        "python -m txfm evaluate held-out --store {params.store:q} --label {params.label} --corpus {params.corpus:q}"
        " --models {params.folders:q} --out {output.table:q} --threads {threads} > {log:q} 2>&1"


# The same models and baselines by a benchmark of the field: six tasks on a screen, or clusters and probes of labelled cells.
rule benchmark_study:
    input:
        store=lambda wildcards: f"{BUILD}/evaluation/{wildcards.study}.{PLAN.evaluation[wildcards.study]}.zarr/zarr.json",
        models=[f"{folder}/{file}" for folder in evaluated() for file in ("model.safetensors", "model.json")],
        relations=lambda wildcards: relations() if wildcards.benchmark == "perturbation" else [],
        corpus=ancient("results/{name}/corpus/corpus.json"),
    output:
        record="results/{name}/evaluation/{study}.{benchmark}/scores.json",
        scores=multiext("results/{name}/evaluation/{study}.{benchmark}/scores", ".parquet", ".tsv", ".md"),
    log:
        "results/{name}/logs/benchmark_study/{study}.{benchmark}.log",
    benchmark:
        "results/{name}/benchmarks/benchmark_study/{study}.{benchmark}.tsv"
    wildcard_constraints:
        study=any_of(PLAN.evaluation_labels),
        benchmark="cells|perturbation",
    conda:
        "../../environment.yml"
    threads: 8
    resources:
        mem_mb=32_000,
        runtime=24 * 60,
    params:
        store=subpath(input.store, parent=True),
        columns=benchmark_columns,
        folders=evaluated(),
        corpus=lambda wildcards: f"--corpus {BUILD}/corpus",  # a store that shares samples with it is refused
        out=subpath(output.record, parent=True),
    shell:
        "python -m txfm evaluate {wildcards.benchmark} {params.store:q} {params.columns} --models {params.folders:q}"
        " {params.corpus} --out {params.out:q} --threads {threads} > {log:q} 2>&1"


# The same on a file of the user's own, with the embeddings in its obsm beside the models.
use rule benchmark_study as benchmark_file with:
    input:
        store=lambda wildcards: PLAN.evaluation_files[wildcards.file].path,
        models=[f"{folder}/{file}" for folder in evaluated() for file in ("model.safetensors", "model.json")],
        relations=lambda wildcards: relations() if wildcards.benchmark == "perturbation" else [],
    output:
        record="results/{name}/evaluation/{file}.{benchmark}/scores.json",
        scores=multiext("results/{name}/evaluation/{file}.{benchmark}/scores", ".parquet", ".tsv", ".md"),
    log:
        "results/{name}/logs/benchmark_file/{file}.{benchmark}.log",
    benchmark:
        "results/{name}/benchmarks/benchmark_file/{file}.{benchmark}.tsv"
    wildcard_constraints:
        file=any_of(PLAN.evaluation_files),
        benchmark="cells|perturbation",
    params:
        store=lambda wildcards, input: input.store,
        columns=file_options,
        corpus="",  # a file of the user's own has no fingerprints


# Which layer of a model holds what: every layer as an embedding. Three seeds, and no MLP: a model has 15 layers and more.
rule benchmark_layers:
    input:
        store=lambda wildcards: f"{BUILD}/evaluation/{wildcards.study}.{PLAN.evaluation[wildcards.study]}.zarr/zarr.json",
        models=[f"{folder}/{file}" for folder in trained_models() for file in ("model.safetensors", "model.json")],
        corpus=ancient("results/{name}/corpus/corpus.json"),
    output:
        record="results/{name}/evaluation/{study}.layers/scores.json",
        scores=multiext("results/{name}/evaluation/{study}.layers/scores", ".parquet", ".tsv", ".md"),
        layers="results/{name}/evaluation/{study}.layers/layers.parquet",
    log:
        "results/{name}/logs/benchmark_layers/{study}.log",
    benchmark:
        "results/{name}/benchmarks/benchmark_layers/{study}.tsv"
    wildcard_constraints:
        study=any_of(PLAN.evaluation_labels),
    conda:
        "../../environment.yml"
    threads: 8
    resources:
        mem_mb=32_000,
        runtime=24 * 60,
    params:
        store=subpath(input.store, parent=True),
        columns=layer_columns,
        folders=trained_models(),
        corpus=subpath(input.corpus, parent=True),
        out=subpath(output.record, parent=True),
    shell:
        "python -m txfm evaluate layers {params.store:q} {params.folders:q} {params.columns} --study {wildcards.study}"
        " --name {wildcards.study} --tasks clusters silhouettes linear --seeds 0 1 2"
        " --corpus {params.corpus:q} --out {params.out:q} --threads {threads} > {log:q} 2>&1"


# What the learned vectors of genes know of related genes; without databases of them, scores.json says so.
rule benchmark_genes:
    input:
        models=[f"{folder}/{file}" for folder in evaluated() for file in ("model.safetensors", "model.json")],
        gene_types=ancient("results/{name}/corpus/genes.parquet"),
        relations=relations(),
        truth=true_modules(),
    output:
        record="results/{name}/evaluation/genes/scores.json",
        scores=multiext("results/{name}/evaluation/genes/scores", ".parquet", ".tsv", ".md"),
    log:
        "results/{name}/logs/benchmark_genes.log",
    benchmark:
        "results/{name}/benchmarks/benchmark_genes.tsv"
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=8_000,
        runtime=2 * 60,
    params:
        relations=relations_option(),
        types=gene_types_option,
        modules=modules_option,
        folders=evaluated(),
        out=subpath(output.record, parent=True),
    shell:
        "python -m txfm evaluate genes {params.folders:q} {params.relations} {params.types}"
        " {params.modules} --out {params.out:q} --threads {threads} > {log:q} 2>&1"
