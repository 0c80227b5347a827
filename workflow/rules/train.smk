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


# A trained model goes on with other samples, beside a training from scratch on them. Held-out samples that the model was
# trained on are refused. The corpus of the model's variant is read for this.
rule finetune:
    input:
        weights=parent_model("model.safetensors"),
        config=parent_model("model.json"),
        data=finetuned_on,
        corpus=ancient("results/{name}/corpus/corpus.json"),
    output:
        weights="results/{name}/finetuned/{finetuning}/model.safetensors",
        config="results/{name}/finetuned/{finetuning}/model.json",
        metrics="results/{name}/finetuned/{finetuning}/metrics.jsonl",
        comparison="results/{name}/finetuned/{finetuning}/finetune.json",
    log:
        "results/{name}/logs/finetune/{finetuning}.log",
    benchmark:
        "results/{name}/benchmarks/finetune/{finetuning}.tsv"
    conda:
        "../../environment.yml"
    threads: finetuning("threads")
    resources:
        mem_mb=finetuning("mem_mb"),
        runtime=finetuning("runtime"),
        gpu=finetuning("gpu"),
    params:
        parent=subpath(input.weights, parent=True),
        corpus=subpath(input.corpus, parent=True),
        options=lambda wildcards: shlex.join(PLAN.finetuning[wildcards.finetuning].options),
        folder=subpath(output.weights, parent=True),
        # Not an output, as of train.
        checkpoints="results/{name}/checkpoints/finetuned.{finetuning}",
        tensorboard="results/{name}/tensorboard/finetuned.{finetuning}",
        ranks=lambda wildcards, resources: max(1, resources.gpu),
    shell:
        "python -m txfm finetune {params.parent:q} --data {input.data:q} --corpus {params.corpus:q} {params.options}"
        " --out {params.folder:q} --checkpoints {params.checkpoints:q} --ranks {params.ranks}"
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
