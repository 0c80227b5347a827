"""Cell types: how well clusters and classifiers of an embedding agree with labels, and how well batches mix in it."""
