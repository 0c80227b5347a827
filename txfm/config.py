"""The configuration of a model and of its training: one frozen dataclass and its presets."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from txfm.errors import InputError

BUDGETS = ("epochs", "samples_seen", "steps")
# Field -> names that select a function. The functions are in losses.py, activations.py and preprocess.py, which import
# torch; a configuration is checked without it.
CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "loss": ("poisson", "mse", "smooth_l1", "negative_binomial", "zero_inflated_negative_binomial"),
        "activation": ("rectified_tanh", "relu", "clamped_relu", "softmax"),
        "preprocessing": ("library_size_log1p", "log1p"),
    }
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that decides what is learned; where and how fast it runs are command-line flags.

    Raises
    ------
    InputError
        A field is out of its range, or the training budget is not exactly one of `epochs`, `samples_seen` and `steps`.
    """

    width: int
    """Width of a token (embedding dimensions)."""
    n_heads: int
    """Attention heads; they share the width."""
    n_blocks: int
    """Transformer blocks of the encoder."""
    mlp_ratio: int = 4
    """Hidden width of a block's MLP in units of the width."""
    layer_scale_init: float | None = 1e-4
    """Initial LayerScale factor of both branches; null = no LayerScale. The paper does not give it."""
    stochastic_depth: float = 0.1
    """Share of samples that skip the last block's branches in training; grows linearly from 0 at the first block."""
    n_decoder_blocks: int = 4
    """Residual blocks of the decoder; 0 = a linear decoder."""
    n_visible_genes: int = 2048
    """Genes shown to the encoder (K); the rest of a sample's measured genes is masked."""
    mask_temperature: float = 0.0
    """tau: gene i is shown with weight m_i^tau, m_i = training samples that detect it; 0 = uniform (Table 5d)."""
    max_genes: int | None = None
    """Cap on the vocabulary: the genes most often detected in single cells; null = every measured gene."""
    library_size_counts: float = 1e5
    """L, counts that every sample is scaled to before log1p (sec. A.2); log(L + 1) bounds the bounded activations."""
    preprocessing: str = "library_size_log1p"
    """What is done to a sample's counts: scaled to the library size, then log1p (sec. A.2); or log1p alone."""
    activation: str = "rectified_tanh"
    """From logits to predicted expression (sec. 2, eq. 1)."""
    loss: str = "poisson"
    """Compares the prediction with the target, gene by gene (sec. 2, eq. 2)."""
    epochs: float | None = None
    """Training budget in passes over the training samples."""
    samples_seen: int | None = None
    """Training budget in samples: equal compute between variants of different size."""
    steps: int | None = None
    """Training budget in optimiser steps."""
    batch_size_samples: int = 1536
    """Samples per optimiser step."""
    micro_batch_size_samples: int | None = None
    """Samples per forward pass; null = what fits into memory. Gradients are accumulated."""
    max_lr: float = 1e-3
    """Peak learning rate of the one-cycle schedule."""
    warmup_share: float = 0.1
    """Share of the steps spent on warm-up."""
    weight_decay_scale: float = 1.0
    """Weight decay = this / (max_lr * total steps), so it is not settable beside the learning rate."""
    adam_beta1: float = 0.9
    """AdamW's first-moment decay."""
    adam_beta2: float = 0.999
    """AdamW's second-moment decay."""
    adam_epsilon: float = 1e-6
    """AdamW's denominator term."""
    gradient_clip_norm: float | None = None
    """Largest global gradient norm; null = no clipping: the paper mentions none, and 1.0 slowed nano down."""
    log_every_steps: int = 50
    """Steps between two training lines of metrics.jsonl."""
    validate_every_steps: int = 1000
    """Steps between two validations."""
    n_validation_samples: int = 2048
    """Size of the fixed validation set."""

    def __post_init__(self) -> None:
        at_least_one = (
            "width n_heads n_blocks mlp_ratio n_visible_genes batch_size_samples log_every_steps "
            "validate_every_steps n_validation_samples"
        )
        for name in at_least_one.split():
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in "max_genes micro_batch_size_samples samples_seen steps".split():
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "at least 1, or null", value)
        for name in "max_lr library_size_counts adam_epsilon".split():
            _require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        for name in "gradient_clip_norm epochs".split():
            value = getattr(self, name)
            _require(value is None or value > 0, name, "above 0, or null", value)
        for name in "stochastic_depth adam_beta1 adam_beta2 warmup_share".split():
            _require(0 <= getattr(self, name) < 1, name, "from 0 to below 1", getattr(self, name))
        _require(math.isfinite(self.mask_temperature), "mask_temperature", "a finite number", self.mask_temperature)
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            _require(value in choices, name, " or ".join(choices), value, choices)
        _require(self.n_decoder_blocks >= 0, "n_decoder_blocks", "0 or more", self.n_decoder_blocks)
        _require(self.weight_decay_scale >= 0, "weight_decay_scale", "0 or more", self.weight_decay_scale)
        _require(self.width % self.n_heads == 0, "n_heads", f"a divisor of width {self.width}", self.n_heads)
        budgets = {name: getattr(self, name) for name in BUDGETS}
        n_given = sum(value is not None for value in budgets.values())
        _require(n_given == 1, "epochs", f"one of {', '.join(BUDGETS)}", str(budgets))

    def total_steps(self, n_samples: int) -> int:
        """Optimiser steps of the whole budget; the last batch of an epoch may be short."""
        if self.steps is not None:
            return self.steps
        wanted = self.samples_seen if self.samples_seen is not None else math.ceil((self.epochs or 0) * n_samples)
        whole_epochs, rest = divmod(wanted, n_samples)
        steps_per_epoch = math.ceil(n_samples / self.batch_size_samples)
        return whole_epochs * steps_per_epoch + math.ceil(rest / self.batch_size_samples)

    def weight_decay(self, total_steps: int) -> float:
        """Decoupled weight decay: 1 / (lr * steps) in the paper, 0.00535 for B's 186,758 steps."""
        return self.weight_decay_scale / (self.max_lr * total_steps)

    @property
    def has_dispersion(self) -> bool:
        """Whether the loss needs a learned dispersion per gene: G parameters."""
        return self.loss in ("negative_binomial", "zero_inflated_negative_binomial")

    @property
    def has_zero_inflation(self) -> bool:
        """Whether the loss needs a second last layer, for the share of extra zeros: G * (width + 1) parameters."""
        return self.loss == "zero_inflated_negative_binomial"

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Layers that a sample can be embedded from: names of `TxFM.layer_outputs`."""
        blocks = [f"block{number + 1}" for number in range(self.n_blocks)]
        return (*blocks, "cls", *(f"decoder{number + 1}" for number in range(self.n_decoder_blocks)))

    def as_mapping(self) -> dict[str, Any]:
        """Every field, for json."""
        return asdict(self)


def _require(fulfilled: bool, name: str, expected: str, found: object, choices: Iterable[str] = ()) -> None:
    if not fulfilled:
        raise InputError(
            f"The model's field {name} has a value that cannot be used",
            where=f"model field {name}",
            expected=expected,
            found=str(found),
            todo=_near(found, choices) or "change it in the model's entry of the configuration",
        )


_PAPER_B = ModelConfig(width=768, n_heads=12, n_blocks=12, epochs=200)

# Table of sec. A.1. S reaches the published 57M parameters only with 12 blocks (6 give 46M); S6 keeps the printed 6.
PRESETS: dict[str, ModelConfig] = {
    "S": replace(_PAPER_B, width=384, n_heads=6),
    "S6": replace(_PAPER_B, width=384, n_heads=6, n_blocks=6),
    "B": _PAPER_B,
    "L": replace(_PAPER_B, width=1024, n_heads=16, n_blocks=24, stochastic_depth=0.3),
    # What learns within minutes on a CPU: see docs/benchmarks.md. One head of width 64: bf16 attention is slow at 32.
    "nano": ModelConfig(
        width=64,
        n_heads=1,
        n_blocks=2,
        layer_scale_init=None,
        stochastic_depth=0.0,
        n_visible_genes=255,
        max_genes=1000,
        samples_seen=100_000,
        batch_size_samples=32,
        max_lr=3e-3,
        weight_decay_scale=0.0,
        validate_every_steps=250,
        n_validation_samples=512,
    ),
}


def config_from_mapping(entry: Mapping[str, Any]) -> ModelConfig:
    """Build a configuration from a preset's name and overrides of its fields.

    Parameters
    ----------
    entry : mapping
        ``{"preset": "B", "n_visible_genes": 1024}``; without a preset, every required field. Setting one of `BUDGETS`
        replaces the preset's.

    Raises
    ------
    InputError
        The preset or a field is unknown, a required field is missing, or a value has the wrong type or range.
    """
    fields_given = dict(entry)
    preset = fields_given.pop("preset", None)
    if preset is not None:
        if preset not in PRESETS:
            raise InputError(
                "Unknown model preset", expected=", ".join(PRESETS), found=str(preset), todo=_near(preset, PRESETS)
            )
        return with_overrides(PRESETS[preset], fields_given)
    checked = _checked(fields_given)
    missing = [name for name in ("width", "n_heads", "n_blocks") if name not in checked]
    if missing:
        raise InputError(
            f"The model has no {', '.join(missing)}", todo="set them, or name a preset: " + ", ".join(PRESETS)
        )
    return ModelConfig(**checked)


def with_overrides(config: ModelConfig, overrides: Mapping[str, Any]) -> ModelConfig:
    """A configuration with some fields changed; a budget among them replaces the one that there was.

    Raises
    ------
    InputError
        As for `config_from_mapping`.
    """
    checked = _checked(overrides)
    if any(checked.get(name) is not None for name in BUDGETS):
        checked = dict.fromkeys(BUDGETS) | checked
    return replace(config, **checked)


def config_from_json(text: str) -> ModelConfig:
    """`config_from_mapping` of a JSON object; see there."""
    try:
        entry = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            "The model is not valid JSON", expected='{"preset": "nano"}', found=f"{text} ({error})"
        ) from error
    if not isinstance(entry, dict):
        raise InputError("The model is not a JSON object", expected='{"preset": "nano"}', found=text)
    return config_from_mapping(entry)


def _checked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an entry, with their types checked."""
    kinds = {field.name: field.type for field in fields(ModelConfig)}
    for name in entry:
        if name not in kinds:
            raise InputError(f"Unknown model field {name!r}", expected=", ".join(kinds), todo=_near(name, kinds))
    return {name: _typed(name, value, kinds[name]) for name, value in entry.items()}


def _typed(name: str, value: Any, kind: object) -> Any:
    if kind is str:
        if not isinstance(value, str):
            expected = " or ".join(CHOICES[name])
            raise InputError(f"The model's field {name} has the wrong type", expected=expected, found=repr(value))
        return value
    wants_float = "float" in str(kind)
    if value is None and "None" in str(kind):
        return None
    is_number = isinstance(value, int | float) if wants_float else isinstance(value, int)
    if isinstance(value, bool) or not is_number:
        expected = ("a number" if wants_float else "a whole number") + (" or null" if "None" in str(kind) else "")
        raise InputError(f"The model's field {name} has the wrong type", expected=expected, found=repr(value))
    return float(value) if wants_float else value


def _near(name: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""
