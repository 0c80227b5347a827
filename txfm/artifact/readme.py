"""README.md of a model: the page for people, made from model.json alone, with the front matter of Hugging Face."""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

PAPER = "2605.31562"
WHAT = {
    "txfm": "TxFM is a masked autoencoder over gene expression",
    "pca": "Principal components of log-normalised counts, a baseline for TxFM",
    "lognorm": "Library-normalised log counts, the plainest baseline for TxFM",
    "hvg": "Library-normalised log counts of the genes that vary most, a baseline for TxFM",
    "scvi": "The encoder of an scVI model, a baseline for TxFM",
}
TAGS = ("biology", "transcriptomics", "rna-seq", "single-cell", "gene-expression")
# Key of a line of metrics -> (title, format)
METRICS: Mapping[str, tuple[str, str]] = {
    "explained_deviance": ("explained deviance; 0: no better than the mean of the sample's study", ".3f"),
    "explained_deviance_masked": ("explained deviance, masked genes only", ".3f"),
    "cls_rank": ("rank of the embedding (participation ratio); 1: collapsed", ".1f"),
    "dead_gene_share": ("dead genes: share that the model never predicts to be there", ".1%"),
    "loss": ("loss", ".4g"),
    "loss_masked": ("loss, masked genes only", ".4g"),
    "explained_variance_share": ("variance that the components explain", ".1%"),
}
# Part of final_metrics -> what its numbers were measured on
HEADINGS = {
    "validation": "on held-out batches of the training studies, at the end of training",
    "pretrained": "on the same batches, before fine-tuning",
    "from_scratch": "on the same batches, after the same training from scratch",
    "fit": "on the training samples",
}
NOT_A_METRIC = frozenset({"kind", "step", "samples_seen"})


def readme(card: Mapping[str, Any], name: str) -> str:
    """The page of a model.

    Parameters
    ----------
    card : mapping
        model.json.
    name : str
        Of the model's folder.
    """
    environment = Environment(  # Markdown, not HTML: nothing is escaped but the bars of table cells, by `cell`
        loader=PackageLoader("txfm.artifact", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: str(text or "not stated").replace("|", "\\|").replace("\n", " ")
    validation = card["final_metrics"].get("validation") or {}
    by_study = validation.get("explained_deviance_by_study") or {}
    return environment.get_template("readme.md.jinja").render(
        card=card,
        name=name,
        what=WHAT[card["kind"]],
        tags=[*TAGS, "txfm", *(["masked-autoencoder"] if card["kind"] == "txfm" else ["baseline"])],
        paper=PAPER,
        held_out_samples=card["final_metrics"].get("held_out_samples"),
        measured=[
            (heading, list(_rows(card["final_metrics"][part])))
            for part, heading in HEADINGS.items()
            if card["final_metrics"].get(part)
        ],
        deviances={study: "not defined" if value is None else f"{value:.3f}" for study, value in by_study.items()},
        n_training_samples=sum(study["n_samples"] for study in card["training_studies"].values()),
    )


def _rows(line: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Title and value of every number of a line of metrics, those with a title first."""
    for key in [*(key for key in METRICS if key in line), *(key for key in line if key not in METRICS)]:
        value = line[key]
        if key in NOT_A_METRIC or isinstance(value, dict | list | str):
            continue
        title, form = METRICS.get(key, (key.replace("_", " "), ",d" if isinstance(value, int) else ".4g"))
        yield title, "not defined" if value is None else format(value, form)
