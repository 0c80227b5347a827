"""Six tasks on a screen of perturbations, after Bendidi et al. 2024 (Tx-Evaluation) and the paper's appendix C."""
