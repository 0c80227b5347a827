"""Validation scores: each against NumPy's own calculation, and the same however the samples are cut."""

from typing import Any

import numpy as np
import pytest
import torch

from txfm.config import config_from_mapping
from txfm.corpus import open_corpus
from txfm.inputs import Inputs
from txfm.masking import choose_visible, sample_keys, seeded_generator
from txfm.model import Output, TxFM
from txfm.objective import Outcome, masked_task
from txfm.scores import ScoreSums, correlation, participation_ratio
from txfm.statistics import MeanExpression, mean_expression
from txfm.validation import BATCH_SAMPLES, SEED, Validation

CPU = torch.device("cpu")
STUDIES = ("one", "two", "empty")
N_GENES = 30


def rank_of(embeddings_ND: torch.Tensor) -> float:
    wide = embeddings_ND.double()
    return participation_ratio(wide.sum(dim=0), wide.T @ wide, len(wide))


@pytest.mark.parametrize("rank", [1, 4])
def test_participation_ratio_counts_directions(rank: int) -> None:
    embeddings_ND = torch.zeros(400, 10)
    embeddings_ND[:, :rank] = torch.randn(400, rank, generator=seeded_generator(CPU, "rank"))
    assert rank_of(embeddings_ND) == pytest.approx(rank, rel=0.05)


def test_participation_ratio_is_that_of_the_eigenvalues_also_far_from_zero() -> None:
    embeddings_ND = 1e-4 * torch.randn(300, 8, generator=seeded_generator(CPU, "far")) * torch.arange(1, 9) + 3
    eigenvalues = np.linalg.eigvalsh(np.cov(embeddings_ND.double().numpy().T))
    assert rank_of(embeddings_ND) == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-5)


def test_equal_embeddings_have_rank_zero() -> None:
    assert rank_of(torch.randn(1, 8, generator=seeded_generator(CPU, "equal")).expand(77, -1)) == 0
    assert participation_ratio(torch.zeros(8), torch.zeros(8, 8), 0) == 0


def test_correlation_is_numpys_over_the_counted_genes() -> None:
    first_BG, second_BG = torch.randn(2, 9, 25, generator=seeded_generator(CPU, "pearson"))
    counted_BG = torch.rand(9, 25, generator=seeded_generator(CPU, "counted")) < 0.6
    found_B, is_defined_B = correlation(first_BG, second_BG, counted_BG)
    assert is_defined_B.all()
    for row in range(9):
        pair = (values[row][counted_BG[row]].double().numpy() for values in (first_BG, second_BG))
        assert found_B[row].item() == pytest.approx(np.corrcoef(*pair)[0, 1], rel=1e-10)


def test_a_correlation_needs_two_genes_that_vary() -> None:
    varied_BG = torch.arange(12.0).reshape(2, 6) / 7
    counted_BG = torch.tensor([[True] * 6, [True] + [False] * 5])
    assert correlation(varied_BG, varied_BG, counted_BG)[1].tolist() == [True, False]
    for constant in (0.0, 0.1, 11.3):  # a mean of equal float32 values need not be that value
        constant_BG = torch.full((2, 6), constant)
        found_B, is_defined_B = correlation(constant_BG, varied_BG, counted_BG)
        assert is_defined_B.tolist() == [False, False]
        assert found_B.tolist() == [0.0, 0.0]


def scored(config_overrides: dict[str, object] | None = None) -> dict[str, Any]:
    """Everything that a score is calculated from, for twelve samples of two studies that measured different genes."""
    base = {"preset": "nano", "width": 16, "n_visible_genes": 12}
    config = config_from_mapping(base | (config_overrides or {}))
    study_index_B = torch.tensor([0, 1, 1] * 4)
    measured_SG = torch.ones(len(STUDIES), N_GENES, dtype=torch.bool)
    measured_SG[1, 10:] = False
    measured_BG = measured_SG[study_index_B]
    counts_BG = torch.poisson(
        30 * torch.rand(12, N_GENES, generator=seeded_generator(CPU, "r")) ** 2,
        generator=seeded_generator(CPU, "c"),
    )
    inputs = Inputs.of(counts_BG * measured_BG, measured_BG, measured_BG.sum(dim=1).numpy(), config)
    network = TxFM(config, N_GENES)
    network.initialise(torch.linspace(5, 9, N_GENES), seeded_generator(CPU, "weights"))
    visible = choose_visible(measured_BG, 12, sample_keys(torch.arange(12), "scores"))
    with torch.no_grad():
        outcome = masked_task(network.eval(), config, inputs, visible, "float32")
    visible_BG = torch.zeros_like(measured_BG).scatter_(1, visible.positions_BK, True) & measured_BG
    log_means_SG = torch.linspace(6, 8, len(STUDIES) * N_GENES).reshape(len(STUDIES), N_GENES)
    return {
        "config": config,
        "inputs": inputs,
        "outcome": outcome,
        "visible_BG": visible_BG,
        "studies_B": study_index_B,
        "means_BG": log_means_SG[study_index_B],
    }


def sums_of(given: dict[str, Any], rows: slice = slice(None)) -> ScoreSums:
    outcome, inputs = given["outcome"], given["inputs"]
    output = Output(*(None if values is None else values[rows] for values in outcome.output[:3]))
    part = Outcome(loss_BG=outcome.loss_BG[rows], expression_BG=outcome.expression_BG[rows], output=output)
    sums = ScoreSums.zero(len(STUDIES), N_GENES, given["config"].width, CPU)
    start, stop, _ = rows.indices(len(inputs))
    columns = (given[name][rows] for name in ("visible_BG", "means_BG", "studies_B"))
    sums.add(part, inputs.rows(start, stop), *columns, given["config"])
    return sums


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"loss": "mse"},
        {"loss": "zero_inflated_negative_binomial"},
        {"preprocessing": "log1p", "loss": "negative_binomial"},
        {"preprocessing": "log1p", "activation": "softmax"},
    ],
    ids=str,
)
def test_scores_are_numpys(overrides: dict[str, object]) -> None:
    given = scored(overrides)
    found = sums_of(given).scores(STUDIES)
    counts = given["inputs"].counts_BG.double().numpy()
    totals = counts.sum(axis=1, keepdims=True)
    target = np.log1p(1e5 * counts / totals)
    mean_counts = given["outcome"].expected().double().numpy()  # in the units of the preprocessed counts
    if given["config"].preprocessing == "log1p":
        mean_counts = mean_counts * 1e5 / totals
    prediction = np.log1p(mean_counts)
    measured, visible = given["inputs"].measured_BG.numpy(), given["visible_BG"].numpy()
    studies, loss = given["studies_B"].numpy(), given["outcome"].loss_BG.double().numpy()

    def mean(values: np.ndarray, counted: np.ndarray, samples: np.ndarray) -> float:
        rows = [values[row][counted[row]].mean() for row in np.flatnonzero(samples) if counted[row].any()]
        return float(np.mean(rows))

    def deviance(of: np.ndarray) -> np.ndarray:
        return np.exp(of) - np.exp(target) - (of - target) * np.exp(target)

    def explained(counted: np.ndarray, samples: np.ndarray) -> float:
        model = mean(deviance(prediction), counted, samples)
        return 1 - model / mean(deviance(given["means_BG"].double().numpy()), counted, samples)

    every, masked = np.ones(12, dtype=bool), measured & ~visible
    correlations = [
        np.corrcoef(prediction[row][masked[row]], target[row][masked[row]])[0, 1]
        for row in range(12)
        if masked[row].sum() > 1  # study two measured ten genes, and shows them all
    ]
    expected = {
        "loss": mean(loss, measured, every),
        "loss_masked": mean(loss, masked, every),
        "loss_visible": mean(loss, visible, every),
        "loss_by_study": {name: mean(loss, measured, studies == i) for i, name in enumerate(STUDIES[:2])},
        "explained_deviance": explained(measured, every),
        "explained_deviance_masked": explained(masked, every),
        "explained_deviance_by_study": {
            name: explained(measured, studies == index) for index, name in enumerate(STUDIES[:2])
        },
        "pearson_masked": np.mean(correlations),
        "cls_rank": rank_of(given["outcome"].output.cls_BD),
        "dead_gene_share": 0.0,
        "n_samples": 12,
        "n_samples_masked": 4,
        "n_samples_pearson": 4,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name


def test_scores_do_not_depend_on_how_the_samples_are_cut_and_sums_can_be_added() -> None:
    given = scored()
    whole = sums_of(given)
    parts = [sums_of(given, slice(start, start + 5)) for start in (0, 5, 10)]
    added = ScoreSums(**{name: sum(getattr(part, name) for part in parts) for name in vars(whole)})  # type: ignore[arg-type]
    expected, found = whole.scores(STUDIES), added.scores(STUDIES)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name


def test_a_gene_without_a_gradient_in_any_sample_is_dead() -> None:
    given = scored()
    given["outcome"].output.logits_BG[:, 3] = -0.1
    given["outcome"].output.logits_BG[4:, 5] = -0.1  # alive in the first samples
    given["outcome"].output.logits_BG[[1, 2, 4, 5, 7, 8, 10, 11], 20:] = -0.1  # study two did not measure these
    assert sums_of(given).scores(STUDIES)["dead_gene_share"] == pytest.approx(1 / N_GENES)


def test_samples_without_a_measured_gene_change_no_score_of_the_others() -> None:
    given, without = scored(), scored()
    given["inputs"].measured_BG[1::3] = False
    given["visible_BG"][1::3] = False
    found = sums_of(given).scores(STUDIES)
    assert found["n_samples"] == 12
    rows = [row for row in range(12) if row % 3 != 1]
    loss = without["outcome"].loss_BG.double()
    expected = [float(loss[row][without["inputs"].measured_BG[row]].mean()) for row in rows]
    assert found["loss"] == pytest.approx(np.mean(expected), rel=1e-5)


def validation(corpus: Any, n_samples: int, **overrides: object) -> tuple[Validation, TxFM]:
    config = config_from_mapping({"preset": "nano", "width": 16, "n_visible_genes": 12} | overrides)
    means = mean_expression(open_corpus(corpus.folder, "tiny", "train"), config.library_size_counts)
    held_back = open_corpus(corpus.folder, "tiny", "validation", batch_size=BATCH_SAMPLES, seed=SEED)
    network = TxFM(config, len(held_back.vocabulary))
    network.initialise(torch.full((network.n_genes,), 5.0), torch.Generator().manual_seed(0))
    return Validation(held_back, means, n_samples), network


def test_validation_is_repeatable_and_leaves_the_network_in_training_mode(tiny_corpus: Any) -> None:
    fixed, network = validation(tiny_corpus, 30, stochastic_depth=0.5)
    first = fixed.score(network, CPU, "float32")
    assert network.training
    assert fixed.score(network, CPU, "float32") == first
    assert first["n_samples"] == 30


def test_validation_masks_do_not_depend_on_the_masking_temperature(tiny_corpus: Any) -> None:
    scores = []
    for temperature in (0.0, 1.0):
        fixed, network = validation(tiny_corpus, 30, mask_temperature=temperature)
        scores.append(fixed.score(network, CPU, "float32"))
    assert scores[0] == scores[1]


def test_predicting_the_means_of_the_studies_explains_nothing(tiny_corpus: Any) -> None:
    fixed, network = validation(tiny_corpus, 30)
    means_G = torch.from_numpy(np.log(fixed.means.by_study[0])).float()  # of alpha
    with torch.no_grad():
        network.initialise(means_G, seeded_generator(CPU, "weights"))
        network.decoder_out.weight.zero_()
        scores = fixed.score(network, CPU, "float32")
    assert scores["explained_deviance_by_study"]["alpha"] == pytest.approx(0, abs=1e-3)
    assert isinstance(fixed.means, MeanExpression)
