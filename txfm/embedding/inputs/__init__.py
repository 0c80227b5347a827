"""Files and objects of raw counts, opened as `Samples`; nothing here knows a model."""
