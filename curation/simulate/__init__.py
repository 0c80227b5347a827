"""Simulated counts with known truth: a screen for demonstrations, and all nine studies for rehearsals."""

from curation.simulate.screen import CONTROL, Screen, simulate_screen, write_screen

__all__ = ["CONTROL", "Screen", "simulate_screen", "write_screen"]
