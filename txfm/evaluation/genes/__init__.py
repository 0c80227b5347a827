"""The gene benchmark: what the learned vectors of genes know of biology (paper, Figures 2 and 6, Table 5)."""
