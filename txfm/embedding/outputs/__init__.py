"""Vectors and labels as files: .h5ad, .zarr, .parquet, .csv, .npy. Each appears whole or not at all."""
