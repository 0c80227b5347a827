# A grid of ablations: its models (rule train) on the studies that none of them may contain, and one table with statistics.
use rule evaluate as evaluate_grid with:
    input:
        store=lambda wildcards: f"{BUILD}/evaluation/{wildcards.study}.{PLAN.evaluation[wildcards.study]}.zarr/zarr.json",
        corpus=ancient("results/{name}/corpus/corpus.json"),
        models=grid_files,
    output:
        table="results/{name}/ablation/{study}.table.json",
        text=multiext("results/{name}/ablation/{study}.table", ".md", ".tsv"),
    log:
        "results/{name}/logs/ablation/{study}.log",
    benchmark:
        "results/{name}/benchmarks/ablation/{study}.tsv"
    params:
        folders=grid,


use rule benchmark_study as benchmark_grid with:
    input:
        store=lambda wildcards: f"{BUILD}/evaluation/{wildcards.study}.{PLAN.evaluation[wildcards.study]}.zarr/zarr.json",
        models=grid_files,
        relations=lambda wildcards: relations() if wildcards.benchmark == "perturbation" else [],
    output:
        record="results/{name}/ablation/{study}.{benchmark}/scores.json",
        scores=multiext("results/{name}/ablation/{study}.{benchmark}/scores", ".parquet", ".tsv", ".md"),
    log:
        "results/{name}/logs/ablation/{study}.{benchmark}.log",
    benchmark:
        "results/{name}/benchmarks/ablation/{study}.{benchmark}.tsv"
    params:
        folders=grid,


use rule benchmark_genes as benchmark_grid_genes with:
    input:
        models=grid_files,
        gene_types=ancient("results/{name}/corpus/genes.parquet"),
        relations=relations(),
        truth=[],  # the grid compares recall alone
    output:
        record="results/{name}/ablation/genes/scores.json",
        scores=multiext("results/{name}/ablation/genes/scores", ".parquet", ".tsv", ".md"),
    log:
        "results/{name}/logs/ablation/genes.log",
    benchmark:
        "results/{name}/benchmarks/ablation/genes.tsv"
    params:
        folders=grid,


rule ablation_table:
    input:
        models=lambda wildcards: [f"{folder}/model.json" for folder in grid(wildcards)],
        tables=expand("results/{{name}}/ablation/{study}.table.json", study=PLAN.evaluation_labels),
        scores=scored(benchmark_folders(f"{BUILD}/ablation")),
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
        scored=benchmark_folders(f"{BUILD}/ablation"),
    shell:
        "python -m txfm ablation --cells {params.cells:q} --models {params.folders:q} --scores {input.tables:q}"
        " {params.scored:q} --out {output.table:q} > {log:q} 2>&1"
