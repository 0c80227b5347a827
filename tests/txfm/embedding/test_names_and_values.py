"""Which names are genes of the model, what other names look like, and which values are counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from txfm.embedding.copies import find_copies
from txfm.embedding.gene_match import GeneMatch, match_genes
from txfm.embedding.gene_names import KnownGenes
from txfm.embedding.inputs.raw_counts import check_raw_counts
from txfm.errors import InputError
from txfm.vocabulary import Vocabulary


def vocabulary(*genes: tuple[str, str]) -> Vocabulary:
    ids, symbols = zip(*genes, strict=True)
    return Vocabulary(axis_positions=np.arange(len(genes)), ensembl_ids=ids, symbols=symbols)


GENES = vocabulary(
    ("ENSG00000000001", "ACTB"),
    ("ENSG00000000002", "BBB"),
    ("ENSG00000000003", "BBB"),
    ("ENSG00000000004", "C1orf112"),
    ("ENSG00000000005", "SOX17"),
    ("ENSG00000000006", "TP53"),
    ("ENSG00000000007", "HLA-A"),
    ("ENSG00000000008", "AC000001.1"),
    ("ENSG00000000009", "AC000001-1"),
)


def match(*names: str, min_share: float = 0.0) -> GeneMatch:
    return match_genes(pd.DataFrame(index=list(names)), GENES, min_share=min_share)


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("ENSG00000000001", 0),
        ("ENSG00000000001.12", 0),
        ("ensg00000000001.12", 0),
        ("ACTB", 0),
        ("C1ORF112", 3),
        ("c1orf112", 3),
        ("TP53", 5),
        ("TP53|7157", 5),
        ("?|100133144", -1),
        ("HLA-A", 6),
        ("HLA.A", 6),
        ("AC000001.1", 7),
        ("TP53.1", -1),
        ("ENSG00000000001.12_PAR_Y", -1),
        ("BBB", -1),
        ("Sox17", -1),
        ("tp53", -1),
        ("", -1),
    ],
)
def test_names_are_found_in_every_spelling_that_means_one_human_gene(name: str, position: int) -> None:
    assert KnownGenes(GENES).position(name) == position


def test_previous_symbols_are_known_where_one_gene_had_them_and_no_gene_has_them_today() -> None:
    genes = Vocabulary(
        axis_positions=np.arange(3),
        ensembl_ids=("ENSG00000000001", "ENSG00000000002", "ENSG00000000003"),
        symbols=("H3-3B", "SEPTIN1", "SEPT2"),
        previous_symbols=(("H3F3B", "H3.3B"), ("SEPT1", "SEPT2"), ()),
    )
    known = KnownGenes(Vocabulary.from_mapping(genes.as_mapping()))
    assert [known.position(name) for name in ("H3F3B", "H3-3B", "SEPT1", "SEPT2", "H3F3A")] == [0, 0, 1, 2, -1]
    part = KnownGenes(genes.subset(np.array([2, 0])))
    assert [part.position(name) for name in ("H3F3B", "SEPT1")] == [1, -1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ENSG00000000001.4_PAR_Y", "copy on chromosome Y"),
        ("BBB", "several genes of the model"),
        ("1-Mar", "Excel"),
        ("Sep-02", "Excel"),
        ("2015-09-02 00:00:00", "Excel"),
        ("ENSMUSG00000000001.3", "mouse"),
        ("ENSXYZG00000000001", "another organism"),
        ("FBgn0000001", "fruit fly"),
        ("Sox17", "capital letters"),
        ("MARCH1", "not a gene of the model"),
        ("ENSG00000000999", "not a gene of the model"),
    ],
)
def test_a_miss_has_a_reason(name: str, reason: str) -> None:
    found = match("ACTB", name)
    assert found.positions.tolist() == [0, -1]
    assert reason in found.reasons[1]
    assert ("left out" in str(found)) == ("not a gene" not in reason)


def test_the_line_for_the_user_has_shares_duplicates_and_misses() -> None:
    found = match("ACTB", "ENSG00000000001.2", "TP53", "unknown")
    assert str(found).startswith(
        "genes: 2 of the model's 9 found (22%) by index; 3 of 4 input genes used, 1 duplicates"
    )
    assert "missing for example ENSG00000000002 (BBB)" in str(found)
    assert found.misses == tuple(f"{GENES.ensembl_ids[i]} ({GENES.symbols[i]})" for i in (1, 2, 3, 4, 6, 7, 8))


def test_the_column_that_finds_most_genes_is_taken_and_can_be_named() -> None:
    var = pd.DataFrame(
        {"gene_name": ["ACTB", "?", "?"], "gene_ids": list(GENES.ensembl_ids[:3])}, index=["a", "b", "c"]
    )
    assert match_genes(var, GENES, min_share=0).source == "gene_ids"
    assert match_genes(var, GENES, "gene_name", min_share=0).measured.sum() == 1
    with pytest.raises(InputError, match=r"(?s)Too few.*a, b, c \(index\)"):
        match_genes(var, GENES, "index", min_share=0)


def test_a_mixture_of_human_and_mouse_uses_the_human_genes_alone() -> None:
    found = match("SOX17", "Sox17", "TP53", "Trp53", "ACTB", "Actb")
    assert found.positions.tolist() == [4, -1, 5, -1, 0, -1]
    assert "2 left out: a human symbol only in capital letters" in str(found)


def test_capitalised_words_that_are_no_genes_are_not_taken_for_mouse() -> None:
    with pytest.raises(InputError, match="Too few"):
        match(*(f"Probe{i}" for i in range(30)), min_share=0.1)


def test_copies_need_the_same_name_and_the_same_counts_in_every_sample() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(5, (40, 6)).astype(np.float32)
    counts[:, 3] = counts[:, 0]
    counts[:, 4] = counts[:, 1]
    counts[39, 4] += 1
    counts[:, 5] = counts[:, 2]
    names = ["A", "B", "C", "A", "B", "other"]
    used = np.ones(6, dtype=bool)
    for n_rows in (1, 7, 40):
        blocks = (sp.csr_matrix(counts[start : start + n_rows]) for start in range(0, 40, n_rows))
        assert find_copies(names, used, blocks).tolist() == [3]
    rare = sp.csr_matrix(np.array([[1, 1], [0, 0]], dtype=np.float32))
    assert find_copies(["A", "A"], np.ones(2, dtype=bool), iter([rare])).tolist() == []


def csr(values: list[list[float]]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, np.nan]], "NaN or infinity"),
        ([[1.0, -0.5]], "scaled or centred"),
        ([[0.7, 2.3]], "look log-transformed"),
        ([[0.7, 5000.0]], "normalised, or expected counts"),
        ([[1.0, 2.0**31]], "at most 2,147,483,647"),
    ],
)
def test_values_that_are_not_raw_counts_are_refused(values: list[list[float]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_raw_counts(csr(values), "X")


def test_expected_counts_need_an_explicit_word_and_float_noise_does_not() -> None:
    check_raw_counts(csr([[1.5, 3000.25]]), "X", allow_fractional=True)
    check_raw_counts(csr([[1.0 + 1e-11, 3.0]]), "X")
    with pytest.raises(InputError, match="scaled"):
        check_raw_counts(csr([[-1.0]]), "X", allow_fractional=True)
    check_raw_counts(csr([[0.0, 0.0]]), "X")


def test_a_refusal_offers_expected_counts_only_where_totals_do_not_prove_otherwise() -> None:
    counts = np.random.default_rng(0).poisson(5, (6, 40)) + 1.0
    per_10k = counts / counts.sum(axis=1, keepdims=True) * 1e4
    for values in (per_10k, np.log1p(per_10k)):
        for allow_fractional in (False, True):
            with pytest.raises(InputError) as refusal:
                check_raw_counts(sp.csr_matrix(values), "X", allow_fractional=allow_fractional)
            assert "--allow-fractional" not in str(refusal.value)
    with pytest.raises(InputError, match="--allow-fractional"):
        check_raw_counts(sp.csr_matrix(counts + 0.25), "X")
    check_raw_counts(sp.csr_matrix(counts + 0.25), "X", allow_fractional=True)
