"""Comparing models on a study that none of them was trained on."""
