"""A number for the counts of a sample, so that two stores or a store and the truth can be compared."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy import sparse

PRIME = 2**61 - 1
LIMB_BITS = 16


class Checksums:
    """Sum over genes of count times a 61-bit hash of the gene's Ensembl id, modulo 2^61 - 1."""

    def __init__(self, ensembl_ids: list[str]) -> None:
        hashes = [
            int.from_bytes(hashlib.blake2b(gene.encode(), digest_size=8).digest()) % PRIME for gene in ensembl_ids
        ]
        # four 16-bit limbs, so that sums of 32-bit counts over 2^16 genes stay exact in 64 bits
        limbs = [[(value >> (LIMB_BITS * i)) & (2**LIMB_BITS - 1) for i in range(4)] for value in hashes]
        self._limbs = np.array(limbs, dtype=np.int64)

    def of(self, counts: sparse.csr_matrix) -> list[int]:
        """Return the checksum of each row."""
        sums = (counts.astype(np.int64) @ self._limbs).tolist()
        return [sum(value << (LIMB_BITS * i) for i, value in enumerate(row)) % PRIME for row in sums]
