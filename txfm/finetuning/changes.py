"""Which settings of a trained model a fine-tuning may change, and which it changes by itself."""

import json
from collections.abc import Mapping
from typing import Any

from txfm.config import BUDGETS, ModelConfig, with_overrides
from txfm.errors import InputError

# What the weights and the vocabulary fix. The rest decides how training goes on.
FIXED_FIELDS = (
    "width n_heads n_blocks mlp_ratio layer_scale_init n_decoder_blocks max_genes library_size_counts preprocessing "
    "activation loss"
).split()
DEFAULT_BUDGET = {"epochs": 10}  # the paper does not give one
# Its 1 / (max_lr * steps) would shrink every matrix to about 0.6 of the pretrained weights, however short the run
DEFAULTS = {"weight_decay_scale": 0.0}


def finetuning_config(config: ModelConfig, changes: Mapping[str, Any]) -> ModelConfig:
    """The model's own configuration with another budget, without weight decay, and with what else may change.

    Raises
    ------
    InputError
        A field is fixed by the weights, unknown or out of range.
    """
    fixed = [name for name in changes if name in FIXED_FIELDS]
    if fixed:
        raise InputError(
            f"The model's {' and '.join(fixed)} cannot change: its weights were trained with it",
            expected="fields of training, such as epochs, batch_size_samples, max_lr",
            found=json.dumps({name: changes[name] for name in fixed}),
        )
    budget = {} if any(name in changes for name in BUDGETS) else DEFAULT_BUDGET
    return with_overrides(config, DEFAULTS | budget | dict(changes))
