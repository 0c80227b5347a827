"""Symbols that genes had before, from the names that a corpus holds."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from txfm.corpus import open_corpus
from txfm.errors import InputError


def test_a_corpus_s_vocabulary_has_the_previous_symbols_that_mean_one_gene(write_corpus: Any, tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "corpus").folder
    genes = open_corpus(folder, "tiny", "train").vocabulary
    assert not any(genes.previous_symbols)  # this corpus holds no names
    first, second, third = genes.ensembl_ids[:3]
    rows = [
        ("OLD1", first, "previous"),
        ("OLDER1", first, "previous"),
        ("SHARED", first, "previous"),
        ("SHARED", second, "previous"),
        ("TODAY", second, "previous"),
        ("TODAY", third, "approved"),
        ("NICKNAME", third, "alias"),
    ]
    pd.DataFrame(rows, columns=["name", "ensembl_id", "kind"]).to_parquet(folder / "gene_names.parquet")
    genes = open_corpus(folder, "tiny", "train").vocabulary
    assert genes.previous_symbols[:3] == (("OLD1", "OLDER1"), (), ())
    capped = open_corpus(folder, "tiny", "train", max_genes=5).vocabulary
    assert dict(zip(capped.ensembl_ids, capped.previous_symbols, strict=True)).get(first, ()) in (
        (),
        ("OLD1", "OLDER1"),
    )
    (folder / "gene_names.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(InputError, match=r"(?s)cannot be read.*gene_names.parquet"):
        open_corpus(folder, "tiny", "train")
