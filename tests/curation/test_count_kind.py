"""The kind of a matrix is detected from its values, and compared with what the catalogue says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

from curation.blocks import Block
from curation.catalog import Study, read_catalog
from curation.count_kind import check_count_kind
from curation.counts import INT32_MAX, Rounding, to_integers
from curation.errors import InputError
from curation.kind_evidence import detect_kind
from curation.value_traits import log_of_integers, measure

N_SAMPLES, N_GENES = 200, 1_500
PART = {"name": "p", "format": "h5ad", "files": {"matrix": "m.h5ad"}}


class SomeBlocks:
    """Stands for a reader of `values` (samples x genes)."""

    def __init__(
        self, values: np.ndarray, *, technology: list[str] | None = None, where: str = "m.h5ad, raw/X"
    ) -> None:
        self.where = where
        self.gene_ids = [f"g{i}" for i in range(values.shape[1])]
        self.n_samples = len(values)
        obs = pd.DataFrame(index=[f"s{i}" for i in range(len(values))])
        self._block = Block(
            counts=sparse.csr_matrix(values), obs=obs if technology is None else obs.assign(assay=technology)
        )

    def some_blocks(self, n_blocks: int, n_rows: int) -> Iterator[Block]:
        yield self._block


class WithLayers(SomeBlocks):
    def other_matrices(self) -> list[tuple[str, bool]]:
        return [("layers/logged", False), ("layers/counts", True)]


def draw(depth: float, *, n_samples: int = N_SAMPLES, n_genes: int = N_GENES, seed: int = 0) -> np.ndarray:
    """Return overdispersed counts with about `depth` counts a sample, and samples of unequal depth."""
    rng = np.random.default_rng(seed)
    genes = rng.lognormal(0, 2, n_genes)
    depths = depth * rng.lognormal(0, 0.4, n_samples)
    means = np.outer(depths, genes / genes.sum())
    return rng.poisson(means * rng.gamma(4, 0.25, means.shape)).astype(np.float32)


def reads_without_umi(n_samples: int = N_SAMPLES) -> np.ndarray:
    return draw(3e7, n_samples=n_samples)


def rounded_tpm() -> np.ndarray:
    counts = draw(5e5)
    return np.rint(counts / counts.sum(axis=1, keepdims=True) * 1e6)


def rounded_per_100_000() -> np.ndarray:
    reads = np.float64(reads_without_umi())
    return np.rint(reads / reads.sum(axis=1, keepdims=True) * 1e5)


def per_ten_thousand() -> np.ndarray:
    counts = draw(4e3)
    return counts / counts.sum(axis=1, keepdims=True) * 1e4


def expected_counts() -> np.ndarray:
    rng = np.random.default_rng(1)
    counts = reads_without_umi(20)
    return np.where(rng.random(counts.shape) < 0.1, np.round(counts * rng.random(counts.shape), 2), counts)


def coverage(read_length: int = 76) -> np.ndarray:
    """Base-pair sums: most reads lie wholly in a gene, one in four overlaps its end."""
    rng = np.random.default_rng(2)
    counts = draw(2e4, n_samples=40)
    return counts * read_length - np.where(rng.random(counts.shape) < 0.25, rng.integers(0, 75, counts.shape), 0) * (
        counts > 0
    )


KINDS: dict[str, tuple[Callable[[], np.ndarray], str]] = {
    "shallow droplets": (lambda: draw(1e3), "umi"),
    "deep plates": (lambda: draw(6e4), "counts"),
    "bulk": (reads_without_umi, "reads"),
    "RSEM": (expected_counts, "expected"),
    "rounded TPM": (rounded_tpm, "smartseq_tpm"),
    "coverage": (coverage, "coverage"),
    "coverage by depth": (lambda: draw(1e9, n_samples=12), "coverage"),
    "log of counts": (lambda: np.log1p(draw(1e3)), "log"),
    "binary logarithm of reads": (lambda: np.log2(reads_without_umi() + 1), "log"),
    "log of counts per 10,000": (lambda: np.log1p(per_ten_thousand()), "log"),
    "the same of a panel of genes": (lambda: np.log1p(per_ten_thousand()[:, 200:900]), "log"),
    "log of expected counts": (lambda: np.log1p(expected_counts()), "log"),
    "counts per 10,000": (per_ten_thousand, "normalised"),
    "reads per 100,000, rounded": (rounded_per_100_000, "normalised"),
    "counts over size factors": (lambda: per_ten_thousand()[:, 200:900], "normalised"),
    "z-scores": (lambda: draw(1e3) - draw(1e3).mean(axis=0), "scaled"),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_recognised(name: str) -> None:
    values, kind = KINDS[name]
    found = detect_kind(measure([sparse.csr_matrix(values())]))
    assert found.name == kind, found.evidence


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithms_are_recognised_in_either_precision(dtype: type) -> None:
    assert log_of_integers(np.log1p(draw(1e3)[:50]).astype(dtype).ravel()) == "log(count + 1)"


def test_counts_thinned_to_one_depth_are_still_counts() -> None:
    rng = np.random.default_rng(0)
    deep = draw(5e3, n_samples=100)
    about = np.stack([rng.binomial(row.astype(int), min(1, 2_000 / row.sum())) for row in deep])
    exactly = np.stack(
        [
            np.bincount(
                rng.choice(np.repeat(np.arange(len(row)), row.astype(int)), 1_000, replace=False), minlength=len(row)
            )
            for row in deep
        ]
    )
    assert {detect_kind(measure([sparse.csr_matrix(values)])).name for values in (about, exactly)} <= {"umi", "counts"}


def test_cells_that_were_thinned_and_then_lost_genes_are_still_counts(make_study: Callable[..., Study]) -> None:
    rng = np.random.default_rng(0)
    genes = rng.lognormal(0, 2, 3_000)
    for depth in (1_000, 10_000, 100_000):
        values = rng.multinomial(depth, genes / genes.sum(), size=300)
        values[:, (values > 0).sum(axis=0) < 3] = 0
        assert len(set(values.sum(axis=1))) > 1
        check_count_kind(SomeBlocks(values), make_study(parts=[PART]), "p")


def shallow_bulk() -> np.ndarray:
    """Read counts whose totals lie where those of rounded TPM may lie, but do not agree."""
    rng = np.random.default_rng(0)
    genes = rng.lognormal(0, 2, 15_000)
    return np.stack([rng.multinomial(int(total), genes / genes.sum()) for total in rng.uniform(0.66e6, 0.95e6, 24)])


def log_of_fpkm(n_samples: int = 10) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = np.log2(rng.lognormal(0, 2, (n_samples, 15_000)) * rng.uniform(0.5, 2, (n_samples, 1)) + 1)
    return np.where(values < 0.3, 0, values)


def scaled_without_centring(factor: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.gamma(2, 1, (200, 3_000)) * (rng.random((200, 3_000)) < 0.2)
    return values / values.std(axis=0) * factor


def test_few_samples_and_one_large_value_among_many_are_seen_whole() -> None:
    """A maximum over a choice of values would miss the one that tells counts from logarithms."""
    values = log_of_fpkm(1)
    values[0, 7_001] = 25_000
    assert measure([sparse.csr_matrix(values)]).samples["largest"].tolist() == [25_000]


def test_fractions_that_reach_as_far_as_counts_do_are_in_doubt_and_pass_on_request(
    make_study: Callable[..., Study],
) -> None:
    values = np.round(scaled_without_centring(1_000), 2)
    check_count_kind(SomeBlocks(values), make_study(parts=[PART], count_kind="expected"), "p")
    with pytest.raises(InputError, match="not integers"):
        check_count_kind(SomeBlocks(values), make_study(parts=[PART], count_kind="umi"), "p")


def test_empty_samples_prove_nothing(make_study: Callable[..., Study]) -> None:
    check_count_kind(SomeBlocks(np.zeros((30, 5))), make_study(parts=[PART]), "p")
    check_count_kind(SomeBlocks(np.zeros((0, 5))), make_study(parts=[PART]), "p")


def refusal(reader: SomeBlocks, study: Study) -> InputError:
    with pytest.raises(InputError) as caught:
        check_count_kind(reader, study, "p")
    return caught.value


@pytest.mark.parametrize(
    ("says", "assay", "values", "evidence", "way_out"),
    [
        (
            "umi",
            "sc",
            lambda: np.log1p(draw(1e3)),
            "values 0.6931, 1.099, 1.386 in raw.X look like log(count + 1)",
            "raw count matrix",
        ),
        ("mixed", "sc", lambda: np.log1p(per_ten_thousand()), "adds up to 10,000 in every sample", "raw count matrix"),
        ("expected", "bulk", lambda: np.log2(expected_counts() + 1), "log-transformed", "raw count matrix"),
        ("umi", "sc", per_ten_thousand, "add up to 10,000 in every sample", "raw count matrix"),
        ("reads", "bulk", expected_counts, "expected counts (RSEM", "count_kind: expected"),
        ("umi", "sc", rounded_tpm, "as rounded TPM do", "count_kinds_by_technology"),
        (
            "reads",
            "bulk",
            coverage,
            "are multiples of 76 more often than chance allows",
            "divide coverage by the read length",
        ),
        ("umi", "sc", reads_without_umi, "look like reads: a sample has ", "count_kind: reads"),
        ("reads", "sc", lambda: draw(1e3), "look like UMI counts: a sample has ", "count_kind: umi"),
        ("smartseq_tpm", "sc", lambda: draw(1e3), "look like UMI counts: a sample has ", "count_kind: umi"),
        ("expected", "sc", lambda: draw(1e3) - 0.5, "are negative", "raw count matrix"),
        ("expected", "bulk", log_of_fpkm, "normalised and log-transformed", "raw count matrix"),
        ("expected", "bulk", lambda: log_of_fpkm(1), "log-transformed", "raw count matrix"),
        ("expected", "bulk", lambda: np.log1p(reads_without_umi(1)), "look like log(count + 1)", "raw count matrix"),
        ("expected", "sc", lambda: scaled_without_centring(8), "0.00% of them are whole numbers", "raw count matrix"),
        ("expected", "sc", lambda: scaled_without_centring(1e4), "0.00% of them are whole", "raw count matrix"),
    ],
)
def test_a_contradiction_shows_its_evidence_and_the_way_out(
    make_study: Callable[..., Study],
    says: str,
    assay: str,
    values: Callable[[], np.ndarray],
    evidence: str,
    way_out: str,
) -> None:
    error = refusal(SomeBlocks(values()), make_study(parts=[PART], count_kind=says, assay=assay))
    assert evidence in error.found
    assert way_out in error.todo
    assert f"count_kind: {says}" in error.expected
    assert error.where == "m.h5ad, raw/X (study toy, part p)"


@pytest.mark.parametrize(
    ("says", "assay", "values"),
    [
        ("umi", "sc", lambda: draw(1e3)),
        ("umi", "sc", lambda: draw(6e4)),
        ("umi", "bulk", lambda: draw(5e6)),
        ("umi", "sc", lambda: draw(1e3)[:3, :6]),
        ("reads", "bulk", reads_without_umi),
        ("reads", "sc", lambda: draw(6e4)),
        ("reads", "bulk", lambda: draw(1e3)[:20]),
        ("reads", "bulk", shallow_bulk),
        ("mixed", "bulk", shallow_bulk),
        ("expected", "bulk", expected_counts),
        ("expected", "bulk", reads_without_umi),
        ("smartseq_tpm", "sc", rounded_tpm),
        ("smartseq_tpm", "sc", lambda: draw(1e6)),
        ("coverage", "bulk", coverage),
        ("mixed", "sc", lambda: np.vstack([draw(1e3), rounded_tpm(), draw(1e6)])),
    ],
)
def test_what_does_not_contradict_the_catalogue_passes(
    make_study: Callable[..., Study], says: str, assay: str, values: Callable[[], np.ndarray]
) -> None:
    check_count_kind(SomeBlocks(values()), make_study(parts=[PART], count_kind=says, assay=assay), "p")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("says", ["umi", "reads", "expected", "smartseq_tpm", "coverage", "mixed"])
def test_nothing_missing_or_infinite_passes_whatever_the_kind(
    make_study: Callable[..., Study], says: str, bad: float
) -> None:
    values = draw(1e3)
    values[7, 7] = bad
    error = refusal(SomeBlocks(values), make_study(parts=[PART], count_kind=says))
    assert error.what.startswith("1 of the values looked at")
    assert "NaN or infinite in raw.X" in error.found


def test_another_matrix_of_the_file_that_holds_integers_is_named(make_study: Callable[..., Study]) -> None:
    error = refusal(WithLayers(np.log1p(draw(1e3)), where="m.h5ad, X"), make_study(parts=[PART]))
    assert "`matrix: layers/counts`" in error.todo
    assert "in X look" in error.found


ATLAS: dict[str, Any] = {
    "parts": [PART],
    "obs": {"technology": {"column": "assay"}},
    "count_kinds_by_technology": {"Smart-seq2": "smartseq_tpm"},
}


def test_each_technology_is_judged_by_its_own_kind(make_study: Callable[..., Study]) -> None:
    values = np.vstack([draw(1e3), rounded_tpm()])
    technology = ["10x 3' v3"] * N_SAMPLES + ["Smart-seq2"] * N_SAMPLES
    check_count_kind(SomeBlocks(values, technology=technology), make_study(**ATLAS), "p")
    error = refusal(SomeBlocks(values, technology=technology[::-1]), make_study(**ATLAS))
    assert "for technology" in error.expected


def test_a_technology_of_rounded_tpm_that_the_catalogue_does_not_name_is_found(
    make_study: Callable[..., Study],
) -> None:
    values = np.vstack([draw(1e3), rounded_tpm()])
    technology = ["10x 3' v3"] * N_SAMPLES + ["Smart-seq3"] * N_SAMPLES
    error = refusal(SomeBlocks(values, technology=technology), make_study(**ATLAS))
    assert error.expected.endswith("for technology 'Smart-seq3')")


def test_a_technology_that_is_a_constant_of_the_part_counts_too(make_study: Callable[..., Study]) -> None:
    part = {**PART, "constants": {"assay": "Smart-seq2"}}
    study = make_study(**{**ATLAS, "parts": [part]})
    check_count_kind(SomeBlocks(rounded_tpm()), study, "p")


def integers(values: np.ndarray, count_kind: str = "umi") -> tuple[np.ndarray, Rounding]:
    record = Rounding()
    return to_integers(values, count_kind=count_kind, where="m.mtx", record=record), record


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2", "<i4", ">i4", "<i8", "<u2", "|u1", "<u8", "|b1"])
def test_counts_of_any_type_become_int32(dtype: str) -> None:
    values = np.array([1, 0, 1, 1] * 50_000).astype(dtype)
    counts, record = integers(values)
    assert counts.dtype == np.int32
    np.testing.assert_array_equal(counts, np.array([1, 0, 1, 1] * 50_000))
    assert (record.n_values, record.n_rounded, record.max_distance) == (200_000, 0, 0.0)


def test_large_counts_survive_the_trip() -> None:
    values = np.array([1.0, INT32_MAX, 2**24 + 1, 3.0])
    np.testing.assert_array_equal(integers(values)[0], [1, INT32_MAX, 2**24 + 1, 3])
    np.testing.assert_array_equal(integers(values.astype(np.int64))[0], [1, INT32_MAX, 2**24 + 1, 3])


def test_every_value_is_looked_at_wherever_it_stands() -> None:
    for bad, words in (
        (np.nan, "missing or infinite"),
        (np.inf, "missing or infinite"),
        (-1, "negative"),
        (-0.2, "negative"),
        (2.0**31, "32 bits"),
        (1e300, "32 bits"),
        (0.5, "not integers"),
    ):
        for place in (0, 65_535, 65_536, 199_999):
            values = np.ones(200_000)
            values[place] = bad
            with pytest.raises(InputError, match=words):
                integers(values)
            if np.isfinite(bad) and bad != 0.5:
                with pytest.raises(InputError, match=words):
                    integers(values, "expected")


@pytest.mark.parametrize("values", [np.array([-1, 2]), np.array([2**31]), np.array([2**63], dtype=np.uint64)])
def test_integers_out_of_range_are_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"negative|32 bits"):
        integers(values)


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="no numbers"):
        integers(np.array([1 + 2j]))


def test_expected_counts_are_rounded_half_to_even_and_recorded() -> None:
    counts, record = integers(np.array([0.5, 1.5, 2.25, 7.0]), "expected")
    np.testing.assert_array_equal(counts, [0, 2, 2, 7])
    assert (record.n_values, record.n_rounded, record.max_distance) == (4, 3, 0.5)


def test_what_text_does_to_an_integer_is_put_right_and_recorded() -> None:
    counts, record = integers(np.array([3.0000000001, 2_000_000.001]))
    np.testing.assert_array_equal(counts, [3, 2_000_000])
    assert record.n_rounded == 2


def test_fractions_are_refused_with_what_they_look_like() -> None:
    with pytest.raises(InputError, match="3 of 4 values of this block are not integers") as caught:
        integers(np.array([np.log(2), np.log(3), np.log(4), 0.0]))
    assert "log(count + 1)" in caught.value.found


def test_kinds_by_technology_need_the_technology(tmp_path: Path) -> None:
    entry = {
        "title": "toy",
        "citation": {"doi": None, "year": 2020, "text": "toy"},
        "licence": "CC0",
        "role": "train",
        "publication_key": ["toy", "toy"],
        "assay": "sc",
        "count_kind": "umi",
        "count_kinds_by_technology": {"Smart-seq2": "smartseq_tpm"},
        "gene_ids": "symbol",
        "obs": {"batch": {"constant": "all"}},
        "parts": [PART],
        "files": {"m.h5ad": {"addresses": ["https://example.org/m.h5ad"]}},
    }
    path = tmp_path / "sheet.yaml"
    path.write_text(yaml.safe_dump({"studies": {"toy": entry}}))
    with pytest.raises(InputError, match="needs to know the technology") as caught:
        read_catalog([path])
    assert "obs.technology" in caught.value.expected
