# Steps 1 and 2: from addresses to verified files, and the gene axis.
rule fetch:
    output:
        "sources/{source}/{file}",
    log:
        "sources/.logs/{source}/{file}.log",
    wildcard_constraints:
        source=any_of(FETCHED),
        file=any_of(file for source in FETCHED for file in PLAN.files(source)),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1_000,
        runtime=24 * 60,
        downloads=1,
    params:
        file=file_entry,
    shell:
        "python -m curation fetch --file {params.file:q} --out {output:q} > {log:q} 2>&1"


rule gene_axis:
    input:
        [file for table in PLAN.annotations for file in source_files(table.name)],
        code=code("genes"),
    output:
        genes="results/{name}/corpus/genes.parquet",
        names="results/{name}/corpus/gene_names.parquet",
    log:
        "results/{name}/logs/gene_axis.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4_000,
        runtime=30,
    params:
        annotation=PLAN.annotation_json(),
    shell:
        "python -m curation genes --annotation {params.annotation:q} --sources sources --out {output.genes:q} > {log:q} 2>&1"


rule simulate_screen:
    input:
        genes=f"{BUILD}/corpus/genes.parquet",
        code=code("simulate"),
    output:
        "sources/{source}/{file}",
    log:
        "sources/.logs/{source}/{file}.log",
    wildcard_constraints:
        source=any_of(PLAN.simulated),
        file=any_of(file for source in PLAN.simulated for file in PLAN.files(source)),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4_000,
        runtime=30,
    params:
        screen=lambda wildcards: PLAN.screen_json(wildcards.source),
    shell:
        "python -m curation simulate --screen {params.screen:q} --genes {input.genes:q} --out {output:q} > {log:q} 2>&1"
