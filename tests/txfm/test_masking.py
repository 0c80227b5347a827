"""Which genes a sample shows: uniform or weighted, among its measured genes, and the same however a batch is cut."""

import numpy as np
import pytest
import torch

from txfm.masking import choose_visible, sample_keys, seeded_generator

CPU = torch.device("cpu")


def keys(n_samples: int, *parts: int | str) -> torch.Tensor:
    return sample_keys(torch.arange(n_samples), *parts)


def inclusion(measured_BG: torch.Tensor, n_visible: int, **options: torch.Tensor) -> np.ndarray:
    """How often each gene was drawn."""
    visible = choose_visible(measured_BG, n_visible, keys(len(measured_BG), "inclusion"), **options)
    return torch.bincount(visible.positions_BK.flatten(), minlength=measured_BG.shape[1]).double().numpy()


def test_the_k_genes_are_uniform_over_the_measured_ones() -> None:
    measured_BG = torch.ones(20_000, 20, dtype=torch.bool)
    measured_BG[:, 15:] = False
    drawn = inclusion(measured_BG, 5)
    assert drawn[15:].sum() == 0
    expected = 20_000 * 5 / 15
    # Without replacement the variance per gene is that of a Bernoulli(1/3), so this statistic has 14 degrees of freedom
    statistic = ((drawn[:15] - expected) ** 2).sum() / (expected * (1 - 1 / 3)) * (14 / 15)
    assert 3.0 < statistic < 36.1  # the outer 0.1% of chi-square with 14 degrees of freedom


def test_pairs_of_genes_are_uniform_too() -> None:
    visible = choose_visible(torch.ones(20_000, 6, dtype=torch.bool), 2, keys(20_000, "pairs"))
    first, second = visible.positions_BK.sort(dim=1).values.T
    drawn = torch.bincount(first * 6 + second, minlength=36).reshape(6, 6)[np.triu_indices(6, 1)].double().numpy()
    statistic = ((drawn - 20_000 / 15) ** 2).sum() / (20_000 / 15)
    assert 3.0 < statistic < 36.1  # 15 pairs: 14 degrees of freedom


@pytest.mark.parametrize("temperature", [-1.0, -0.5, 0.5, 1.0])
def test_weighted_genes_are_drawn_as_numpy_draws_without_replacement(temperature: float) -> None:
    weights = np.array([1.0, 2, 3, 10, 30, 100, 5, 50, 7, 20]) ** temperature
    measured = np.ones(10, dtype=bool)
    measured[8:] = False
    n_draws, rng = 20_000, np.random.default_rng(0)
    shares = weights * measured / weights[measured].sum()
    expected = np.zeros(10)
    for _ in range(n_draws):
        expected[rng.choice(10, 3, replace=False, p=shares)] += 1
    drawn = inclusion(
        torch.from_numpy(measured).expand(n_draws, -1), 3, log_weights_G=torch.from_numpy(np.log(weights))
    )
    assert drawn[8:].sum() == 0
    assert drawn.sum() == 3 * n_draws
    share = expected / n_draws
    error = np.sqrt(2 * n_draws * share * (1 - share) + 1)  # of the difference of two such counts
    assert (np.abs(drawn - expected) < 4 * error).all()
    assert np.abs(drawn - 3 * n_draws / 8)[:8].max() > 20 * error.max()  # a uniform draw would fail


def test_equal_weights_are_uniform() -> None:
    drawn = inclusion(torch.ones(20_000, 10, dtype=torch.bool), 4, log_weights_G=torch.full((10,), 12.0).double())
    statistic = ((drawn - 8000) ** 2).sum() / (8000 * 0.6) * 0.9
    assert 0.97 < statistic < 27.9  # the outer 0.1% and 0.1% of chi-square with 9 degrees of freedom


@pytest.mark.parametrize("weighted", [False, True])
def test_an_unmeasured_gene_is_never_shown_and_none_is_shown_twice(weighted: bool) -> None:
    measured_BG = torch.rand(300, 200, generator=seeded_generator(CPU, "measured")) < 0.5
    log_weights_G = torch.linspace(-30, 30, 200).double() if weighted else None
    visible = choose_visible(measured_BG, 60, keys(300, 1), log_weights_G)
    assert visible.is_real_BK is None
    assert measured_BG.gather(1, visible.positions_BK).all()
    assert all(len(set(row)) == 60 for row in visible.positions_BK.tolist())


def test_samples_with_few_measured_genes_are_padded() -> None:
    measured_BG = torch.zeros(3, 10, dtype=torch.bool)
    measured_BG[0, :8] = True
    measured_BG[1, [2, 5]] = True
    for log_weights_G in (None, torch.zeros(10).double()):
        visible = choose_visible(measured_BG, 6, keys(3, 0), log_weights_G)
        assert visible.is_real_BK is not None
        assert visible.is_real_BK.sum(dim=1).tolist() == [6, 2, 0]
        assert set(visible.positions_BK[1][visible.is_real_BK[1]].tolist()) == {2, 5}


def test_numbers_of_measured_genes_from_the_host_change_nothing() -> None:
    measured_BG = torch.rand(20, 30, generator=seeded_generator(CPU, "few")) < 0.6
    numbers = measured_BG.sum(dim=1).numpy()
    for n_visible in (int(numbers.min()), int(numbers.max())):
        counted = choose_visible(measured_BG, n_visible, keys(20, 0))
        told = choose_visible(measured_BG, n_visible, keys(20, 0), n_measured_B=numbers)
        assert torch.equal(counted.positions_BK, told.positions_BK)
        assert (counted.is_real_BK is None) == (told.is_real_BK is None) == (n_visible == numbers.min())


@pytest.mark.parametrize("weighted", [False, True])
def test_a_samples_mask_does_not_depend_on_how_the_batch_is_cut(weighted: bool) -> None:
    measured_BG = torch.rand(24, 50, generator=seeded_generator(CPU, "cut")) < 0.8
    log_weights_G = torch.linspace(0, 3, 50).double() if weighted else None
    whole = choose_visible(measured_BG, 9, keys(24, "train", 0, 4), log_weights_G).positions_BK

    def draw(rows: slice, indices: torch.Tensor) -> torch.Tensor:
        part_keys = sample_keys(indices, "train", 0, 4)
        return choose_visible(measured_BG[rows], 9, part_keys, log_weights_G).positions_BK

    micro = [draw(slice(start, start + 5), torch.arange(start, min(start + 5, 24))) for start in range(0, 24, 5)]
    assert torch.equal(torch.cat(micro).sort(dim=1).values, whole.sort(dim=1).values)
    for rank in range(3):  # rank r of w has every w-th sample of a step's batch
        of_rank = draw(slice(rank, None, 3), torch.arange(8) * 3 + rank)
        assert torch.equal(of_rank.sort(dim=1).values, whole[rank::3].sort(dim=1).values)


def test_masks_are_a_function_of_seed_step_and_sample() -> None:
    measured_BG = torch.ones(50, 500, dtype=torch.bool)
    masks = {}
    for seed in (0, 1):
        for step in (4, 5):
            positions_BK = choose_visible(measured_BG, 9, keys(50, "train", seed, step)).positions_BK
            again_BK = choose_visible(measured_BG, 9, keys(50, "train", seed, step)).positions_BK
            assert torch.equal(positions_BK, again_BK)
            masks.update({(seed, step, row): frozenset(mask) for row, mask in enumerate(positions_BK.tolist())})
    assert len(set(masks.values())) == len(masks)


def test_random_numbers_are_those_of_splitmix64() -> None:
    """The algorithm in Python's unbounded integers, as published; its first outputs for seed 1234567 are well known."""

    def splitmix64(seed: int, n: int) -> list[int]:
        answers = []
        for index in range(1, n + 1):
            z = (seed + index * 0x9E3779B97F4A7C15) % 2**64
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
            answers.append(z ^ (z >> 31))
        return answers

    assert splitmix64(1234567, 2) == [6457827717110365317, 3203168211198807973]
    seeds = [1234567, 2**63 + 12345, 2**64 - 1]
    signed = torch.tensor([seed - 2**64 if seed >= 2**63 else seed for seed in seeds])
    drawn = choose_visible(torch.ones(3, 40, dtype=torch.bool), 7, signed).positions_BK
    for row, seed in zip(drawn.tolist(), seeds, strict=True):
        numbers = splitmix64(seed, 40)
        as_signed = [number - 2**64 if number >= 2**63 else number for number in numbers]
        assert set(row) == set(sorted(range(40), key=lambda gene: as_signed[gene])[-7:])


def test_a_generator_is_a_function_of_its_parts() -> None:
    first, again, other = (torch.rand(3, generator=seeded_generator(CPU, "a", step)) for step in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
