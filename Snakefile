# DiverseRNA: public RNA-seq studies -> a corpus of raw counts -> TxFM models on every variant of it.
# This file is the table of contents. Science: config.yaml. Compute: profiles/. Steps: workflow/rules/.
from snakemake.utils import min_version

min_version("9.10")


# From the project's root, also with --directory.
configfile: f"{workflow.basedir}/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/acquire.smk"
include: "workflow/rules/curate.smk"
include: "workflow/rules/phenoprints.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        products("report"),
        products("tables"),
        products("benchmarks"),
        products("notice"),


rule sources:
    input:
        products("sources"),


rule corpora:
    input:
        products("corpora"),


rule audit:
    input:
        products("audit"),


rule ablation:
    input:
        products("ablation"),


rule demo:
    input:
        rules.all.input,
        rules.audit.input,


rule mini:
    input:
        rules.all.input,


onstart:
    hold_folder()
