# A grid of ablations: its models (rule train) on the studies that none of them may contain, and one table with statistics.
rule evaluate_grid:
    input:
        store=lambda wildcards: f"{BUILD}/evaluation/{wildcards.study}.{PLAN.evaluation[wildcards.study]}.zarr/zarr.json",
        corpus=ancient("results/{name}/corpus/corpus.json"),
        models=lambda wildcards: [
            f"{folder}/{file}" for folder in grid(wildcards) for file in ("model.safetensors", "model.json")
        ],
    output:
        table="results/{name}/ablation/{study}.table.json",
        text=multiext("results/{name}/ablation/{study}.table", ".md", ".tsv"),
    log:
        "results/{name}/logs/ablation/{study}.log",
    benchmark:
        "results/{name}/benchmarks/ablation/{study}.tsv"
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
        folders=grid,
    shell:
        "python -m txfm evaluate held-out --store {params.store:q} --label {params.label} --corpus {params.corpus:q}"
        " --models {params.folders:q} --out {output.table:q} --threads {threads} > {log:q} 2>&1"


rule ablation_table:
    input:
        models=lambda wildcards: [f"{folder}/model.json" for folder in grid(wildcards)],
        tables=expand("results/{{name}}/ablation/{study}.table.json", study=PLAN.evaluation_labels),
    output:
        table=report(
            "results/{name}/ablation/{grid}.json",
            caption="../report/ablation.rst",
            category="Evaluation",
        ),
        frames=multiext("results/{name}/ablation/{grid}", ".parquet", ".tsv", ".md"),
    log:
        "results/{name}/logs/ablation/{grid}.log",
    wildcard_constraints:
        grid=re.escape(PLAN.ablation.name) if PLAN.ablation else "(?!)",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2_000,
        runtime=30,
    params:
        cells=lambda wildcards: json.dumps(PLAN.grid().as_list()),
        folders=grid,
    shell:
        "python -m txfm ablation --cells {params.cells:q} --models {params.folders:q} --scores {input.tables:q}"
        " --out {output.table:q} > {log:q} 2>&1"
