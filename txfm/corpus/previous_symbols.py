"""Symbols that genes had before: older studies are written with them, and a model has to know what they mean."""

import io
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from txfm.corpus.places import Place
from txfm.errors import InputError

FILE = "gene_names.parquet"  # docs/corpus-format.md


def previous_symbols(place: Place, ensembl_ids: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Previous symbols of genes, from the names that a corpus holds.

    Parameters
    ----------
    place : Place
        The corpus.
    ensembl_ids : sequence of str (G,)

    Returns
    -------
    tuple of tuples of str (G,)
        Sorted. A symbol that is the approved one of a gene of the axis, or that several genes had, is nobody's. Empty
        where the corpus holds no names.

    Raises
    ------
    InputError
        The file is damaged.
    """
    try:
        names = pq.read_table(io.BytesIO(place.read(FILE)), columns=["name", "ensembl_id", "kind"])
    except FileNotFoundError:
        return ((),) * len(ensembl_ids)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            "A file of the corpus cannot be read",
            where=place.name(FILE),
            expected="a Parquet table with the columns name, ensembl_id, kind",
            found=str(error).split("\n")[0],
            todo="copy or build the corpus again; `curation verify` lists everything that is damaged",
        ) from error
    approved = names.filter(pc.equal(names["kind"], "approved"))["name"]
    previous = names.filter(pc.equal(names["kind"], "previous"))
    previous = previous.filter(pc.invert(pc.is_in(previous["name"], value_set=approved)))
    pairs = set(zip(previous["name"].to_pylist(), previous["ensembl_id"].to_pylist(), strict=True))
    n_genes = Counter(name for name, _ in pairs)
    of_gene: dict[str, list[str]] = {}
    for name, ensembl_id in sorted(pairs):
        if n_genes[name] == 1:
            of_gene.setdefault(ensembl_id, []).append(name)
    return tuple(tuple(of_gene.get(ensembl_id, ())) for ensembl_id in ensembl_ids)
