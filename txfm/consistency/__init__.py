"""Perturbation consistency: which perturbations of a screen move their cells in a common direction (sec. C.2)."""
