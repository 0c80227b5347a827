# Steps 8 to 10: from a variant to a trained model, and the corpus as that model sees it.
# The input is the variant's manifest alone: it names the digest of every store. There is no code= (see common.smk).
rule train:
    input:
        corpus=overview,
        variant="results/{name}/corpus/variants/{variant}.json",
    output:
        weights="results/{name}/models/{variant}.{model}.s{seed}/model.safetensors",
        config="results/{name}/models/{variant}.{model}.s{seed}/model.json",
        metrics="results/{name}/models/{variant}.{model}.s{seed}/metrics.jsonl",
    log:
        "results/{name}/logs/train/{variant}.{model}.s{seed}.log",
    benchmark:
        "results/{name}/benchmarks/train/{variant}.{model}.s{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: training("threads")
    resources:
        mem_mb=training("mem_mb"),
        runtime=training("runtime"),
        gpu=training("gpu"),
    params:
        corpus=subpath(input.variant, ancestor=2),
        model=lambda wildcards: PLAN.model_json(wildcards.model),
        folder=subpath(output.weights, parent=True),
        # Not an output: Snakemake would delete it before it lets an interrupted training go on.
        checkpoints="results/{name}/checkpoints/{variant}.{model}.s{seed}",
        tensorboard="results/{name}/tensorboard/{variant}.{model}.s{seed}",
        # One process a GPU, all of one machine; several machines: docs/training.md.
        ranks=lambda wildcards, resources: max(1, resources.gpu),
    shell:
        "python -m txfm train --corpus {params.corpus:q} --variant {wildcards.variant} --model {params.model:q}"
        " --seed {wildcards.seed} --out {params.folder:q} --checkpoints {params.checkpoints:q} --ranks {params.ranks}"
        " --tensorboard {params.tensorboard:q} --threads {threads} > {log:q} 2>&1"


rule embed_corpus:
    input:
        weights="results/{name}/models/{variant}.{model}.s{seed}/model.safetensors",
        config="results/{name}/models/{variant}.{model}.s{seed}/model.json",
        variant="results/{name}/corpus/variants/{variant}.json",
    output:
        "results/{name}/embeddings/{variant}.{model}.s{seed}.parquet",
    log:
        "results/{name}/logs/embed/{variant}.{model}.s{seed}.log",
    benchmark:
        "results/{name}/benchmarks/embed/{variant}.{model}.s{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: training("threads")
    resources:
        mem_mb=training("mem_mb"),
        runtime=24 * 60,
        gpu=training("gpu"),
    params:
        corpus=subpath(input.variant, ancestor=2),
        folder=subpath(input.weights, parent=True),
    shell:
        "python -m txfm embed {params.folder:q} --corpus {params.corpus:q} --variant {wildcards.variant}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"
