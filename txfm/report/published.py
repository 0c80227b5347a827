"""Values that the paper prints, as anchors beside ours: never mixed with measured ones."""

from markupsafe import Markup

from txfm.report.page import Cell, Table

CITATION: Cell = Markup(
    "Published values: Kenyon-Dean et al., <cite>Effective Biological Representation Learning by Masking Gene "
    'Expression</cite> (<a href="https://arxiv.org/abs/2605.31562">arXiv 2605.31562</a>). They are of the authors\' '
    "models on the authors' data, set in italics, and were not measured in this build."
)

# Table 5h: samples, perturbation consistency, gene recall of the encoder and of the decoder, in percent.
_CURATION = [
    ["minus K562", "932K", "31.4", "31.5", "42.0"],
    ["K562 controls only", "1.0M", "34.3", "32.0", "42.2"],
    ["curated K562 (default)", "1.4M", "37.3", "32.6", "43.9"],
    ["full K562", "2.8M", "35.6", "31.2", "44.9"],
    ["full K562, 2x compute", "2.8M", "36.7", "29.8", "44.7"],
    ["57M-cell atlas, 4x compute", "57M", "30.3", "35.2", "40.3"],
]
# Table 2: iLISI is printed between 0 and 1 and enters the average times 100.
_PERTURBATION = [["TxFM-B, HepG2", "0.706", "25.93", "13.14", "32.47", "45.26", "44.40", "38.63"]]


def published_tables() -> list[Table]:
    """Tables 2 and 5h of the paper, as far as they are known here."""
    tasks = [
        "iLISI",
        "linear probe",
        "kNN",
        "perturbation consistency",
        "relationship recall",
        "invertibility",
        "average",
    ]
    variants = ["samples", "perturbations", "encoder recall", "decoder recall"]
    return [
        Table(
            caption="Published (paper, Table 2): perturbation benchmark",
            columns=["model, cells", *tasks],
            rows=_PERTURBATION,
            numbers=frozenset(tasks),
            published=True,
        ),
        Table(
            caption="Published (paper, Table 5h): curation variants, percent",
            columns=["variant", *variants],
            rows=_CURATION,
            numbers=frozenset(variants[1:]),
            published=True,
        ),
    ]
