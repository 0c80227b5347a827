# One page with the pictures and tables of a build.
rule report:
    input:
        corpus="results/{name}/corpus/corpus.json",
        variants=expand("results/{{name}}/corpus/variants/{variant}.json", variant=PLAN.variants),
        qc=qc_reports([*PLAN.training_pairs, *PLAN.evaluation_pairs]),
        models=[f"{folder}/{file}" for folder in trained_models() for file in ("model.json", "metrics.jsonl")],
        embeddings=[f"{BUILD}/embeddings/{variant}.{model}.s{seed}.parquet" for variant, model, seed in PLAN.runs],
        finetuned=products("finetuned"),
        tables=products("tables"),
        benchmarks=products("benchmarks"),
    output:
        page=report(
            "results/{name}/report.html",
            caption="../report/page.rst",
            category="Build",
        ),
        figures=directory("results/{name}/figures"),
    log:
        "results/{name}/logs/report.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=16_000,
        runtime=60,
    params:
        results=subpath(output.page, parent=True),
    shell:
        "python -m txfm report --results {params.results:q} --out {output.page:q} > {log:q} 2>&1"
