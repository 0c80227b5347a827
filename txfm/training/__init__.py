"""Training: from a variant of a corpus, or a data set of one's own, to a model folder."""
