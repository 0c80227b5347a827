"""A grid of models that differ in one factor each: which differences are real, at what cost."""
