# Step 7: the corpus over the stores, its variants, and the check of what the format promises.
rule assemble:
    input:
        stores(PLAN.training_pairs),
        genes="results/{name}/corpus/genes.parquet",
        reports=qc_reports(PLAN.training_pairs),
        code=code("assemble"),
    output:
        "results/{name}/corpus/corpus.json",
    log:
        "results/{name}/logs/assemble.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        corpus=subpath(output[0], parent=True),
        axis_source=PLAN.annotation.name,
        # A function: Snakemake would look for wildcards in a citation with braces.
        studies=lambda wildcards: PLAN.studies_json(),
    shell:
        "python -m curation assemble --corpus {params.corpus:q} --name {wildcards.name} --axis-source {params.axis_source}"
        " --studies {params.studies:q} --reports {input.reports:q} --out {output:q} > {log:q} 2>&1"


rule compose:
    input:
        lambda wildcards: stores(members(wildcards)),
        genes="results/{name}/corpus/genes.parquet",
        reports=lambda wildcards: qc_reports(members(wildcards)),
        evaluation=[f"{path}/zarr.json" for path in evaluation_stores().values()],
        code=code("compose"),
    output:
        manifest="results/{name}/corpus/variants/{variant}.json",
        links="results/{name}/corpus/variants/{variant}.zarr/zarr.json",
    log:
        "results/{name}/logs/compose/{variant}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        corpus=subpath(output.manifest, ancestor=2),
        members=lambda wildcards: PLAN.members_json(wildcards.variant),
        held_out=PLAN.held_out_json(),
        evaluation=json.dumps(evaluation_stores()),
    shell:
        "python -m curation compose --corpus {params.corpus:q} --variant {wildcards.variant} --members {params.members:q}"
        " --held-out {params.held_out:q} --evaluation-stores {params.evaluation:q} --reports {input.reports:q} > {log:q} 2>&1"


rule verify:
    input:
        stores(PLAN.training_pairs),
        corpus="results/{name}/corpus/corpus.json",
        variants=expand("results/{{name}}/corpus/variants/{variant}.json", variant=PLAN.variants),
        code=code("verify"),
    output:
        "results/{name}/audit.txt",
    log:
        "results/{name}/logs/verify.log",
    benchmark:
        "results/{name}/benchmarks/verify.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4_000,
        runtime=6 * 60,
    params:
        corpus=subpath(input.corpus, parent=True),
    shell:
        "python -m curation verify {params.corpus:q} > {log:q} 2>&1 && cp {log:q} {output:q}"
