"""A model on disk: weights that cannot run code, what is needed to trust and use them, and a page for people.

docs/model-format.md is the contract. `read_artifact` and `write_artifact` know nothing of networks: every kind of
model, the baselines included, is a set of named tensors, a vocabulary and model.json.
"""

from txfm.artifact.format import is_finished
from txfm.artifact.provenance import Provenance, parent_of
from txfm.artifact.read import Artifact, read_artifact
from txfm.artifact.write import write_artifact

__all__ = ["Artifact", "Provenance", "is_finished", "parent_of", "read_artifact", "write_artifact"]
