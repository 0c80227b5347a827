# The feedback edge: which perturbations of a screen have a consistent effect decides what is curated of it.
# The plan refuses circles: the screen is judged under a recipe that keeps all perturbations, by PCA or by a model without it.
rule phenoprints:
    input:
        embedder,
        stores=screen_stores,
    output:
        table="results/{name}/phenoprints/{phenoprint}.tsv",
        record="results/{name}/phenoprints/{phenoprint}.json",
    log:
        "results/{name}/logs/phenoprints/{phenoprint}.log",
    benchmark:
        "results/{name}/benchmarks/phenoprints/{phenoprint}.tsv"
    conda:
        "../../environment.yml"
    threads: embedding("threads")
    resources:
        mem_mb=embedding("mem_mb"),
        runtime=24 * 60,
        gpu=embedding("gpu"),
    params:
        stores=lambda wildcards, input: [os.path.dirname(path) for path in input.stores],
        model=lambda wildcards: ["--model", os.path.dirname(embedder(wildcards)[0])] if embedder(wildcards) else [],
        null=lambda wildcards: PLAN.phenoprints[wildcards.phenoprint].null_distribution,
        seed=lambda wildcards: PLAN.phenoprints[wildcards.phenoprint].seed,
    shell:
        "python -m txfm consistency --stores {params.stores:q} {params.model:q} --null {params.null}"
        " --seed {params.seed} --out {output.table:q} --threads {threads} > {log:q} 2>&1"
