"""Embedding: from any file of raw counts to a vector for each sample, with a TxFM or a baseline.

`inputs` opens files as `Samples` (names of genes, labels, raw counts in blocks of rows) and knows no model; an
`txfm.embedder.Encoder` turns counts over a vocabulary into vectors and knows no file; `run` brings the two together;
`outputs` writes vectors beside the labels.
"""
