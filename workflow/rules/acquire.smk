# Steps 1 and 2: from addresses to verified files, and the gene axis.
# Each public host has a limit of connections of its own (profiles/), beside that of downloads.
rule fetch:
    output:
        "sources/{source}/{file}",
    log:
        "sources/.logs/{source}/{file}.log",
    wildcard_constraints:
        source=source_of(FETCHED),
        file=any_of(file for _, file in FETCHED),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1_000,
        runtime=24 * 60,
        downloads=1,
        zenodo=connections("zenodo"),
        figshare=connections("figshare"),
        gdc=connections("gdc"),
        ncbi=connections("ncbi"),
    params:
        file=file_entry,
    shell:
        "python -m curation fetch --file {params.file:q} --source {wildcards.source} --lock sources.lock.yaml"
        " --out {output:q} > {log:q} 2>&1"


rule extract:
    input:
        archive,
    output:
        "sources/{source}/{file}",
    log:
        "sources/.logs/{source}/{file}.log",
    wildcard_constraints:
        source=source_of(ARCHIVED),
        file=any_of(file for _, file in ARCHIVED),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1_000,
        runtime=6 * 60,
    params:
        file=file_entry,
    shell:
        "python -m curation extract --file {params.file:q} --archive {input:q} --out {output:q} > {log:q} 2>&1"


# Licences and citations. The text is the parameter, so that a new citation, and nothing else, writes it again.
rule notice:
    output:
        "results/{name}/corpus/NOTICE",
    log:
        "results/{name}/logs/notice.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=500,
        runtime=5,
    params:
        # A function: Snakemake would look for wildcards in a citation with braces.
        text=lambda wildcards: notice(PLAN),
    shell:
        "python -m curation notice --text {params.text:q} --out {output:q} > {log:q} 2>&1"


rule gene_axis:
    input:
        [f"sources/{file}" for file in PLAN.axis_files],
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
        annotation=lambda wildcards: PLAN.annotation_json(),
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
        source=source_of(SIMULATED),
        file=any_of(file for _, file in SIMULATED),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4_000,
        runtime=30,
    params:
        screen=lambda wildcards: PLAN.screen_json(wildcards.source),
    shell:
        "python -m curation simulate --screen {params.screen:q} --genes {input.genes:q} --out {output:q} > {log:q} 2>&1"
