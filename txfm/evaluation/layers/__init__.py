"""Which layer of a network holds what: every layer's vectors, scored as embeddings (Figure 3 of the paper)."""
