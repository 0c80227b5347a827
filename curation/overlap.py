"""No sample in two studies of a variant, and none of a study that is held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from curation.errors import InputError
from curation.fingerprint import read_fingerprints


def refuse_shared_samples(
    variant: str, members: Mapping[str, Sequence[Path]], held_out: Mapping[str, Sequence[Path]]
) -> None:
    """Compare the fingerprints of all samples of a variant.

    Public atlases hold cells of other studies. A cell in two of them counts twice, and one of the two may be in
    validation while the other is trained on.

    Parameters
    ----------
    variant : str
    members : mapping of str to sequence of Path
        Training study -> its stores.
    held_out : mapping of str to sequence of Path
        Study that is evaluated in this build -> its store.

    Raises
    ------
    InputError
        Samples of two studies have the same counts at every mapped gene.
    """
    names = [*members, *held_out]
    found = [
        np.unique(np.concatenate([np.empty(0, np.uint64), *map(read_fingerprints, stores)]))
        for stores in (*members.values(), *held_out.values())
    ]
    values = np.concatenate([np.empty(0, np.uint64), *found])
    owners = np.repeat(np.arange(len(names)), [len(part) for part in found])
    order = np.lexsort((owners, values))
    values, owners = values[order], owners[order]
    again = np.flatnonzero(values[1:] == values[:-1])
    pairs = Counter(zip(owners[again].tolist(), owners[again + 1].tolist(), strict=True))
    for (first, second), n in sorted(pairs.items()):
        if names[first] in held_out:
            continue  # both are held out: neither is trained on
        _refuse(variant, names[first], names[second], n, leaks=names[second] in held_out)


def _refuse(variant: str, first: str, second: str, n: int, *, leaks: bool) -> None:
    if leaks:
        raise InputError(
            f"{n} samples of training study {first!r} are also in {second!r}, which is held out for evaluation",
            where=f"variant {variant}",
            expected="no sample of an evaluation study in training",
            found=f"{n} samples with the same counts at every mapped gene",
            todo=f"add `drop_samples_of: [{second}]` to the recipe of {first}",
        )
    raise InputError(
        f"{n} samples are both in {first!r} and in {second!r}",
        where=f"variant {variant}",
        expected="each sample in one study",
        found=f"{n} samples with the same counts at every mapped gene",
        todo=f"add `drop_samples_of: [{first}]` to the recipe of {second}, or the other way round",
    )
