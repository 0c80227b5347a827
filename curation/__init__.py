"""Curation: from the address of a public study to stores of harmonised raw counts (docs/corpus-format.md)."""
