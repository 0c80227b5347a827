"""Which genes of a sample the encoder sees (sec. 2, Masking). Shapes as in model.py."""

import hashlib
from typing import NamedTuple

import numpy as np
import torch

# SplitMix64 (Steele, Lea and Flood 2014): output i of the stream with key k is mix(k + i * GAMMA), modulo 2^64
GAMMA, FACTOR_1, FACTOR_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
LOWEST = torch.iinfo(torch.int64).min


class Visible(NamedTuple):
    """Positions of the visible genes, and which of them are padding (None: none is)."""

    positions_BK: torch.Tensor
    is_real_BK: torch.Tensor | None


def seeded_generator(device: torch.device, *parts: int | str) -> torch.Generator:
    """A generator that is a pure function of `parts`, such as (seed, step): no random state has to be saved.

    The parts are hashed, so that neighbouring seeds and steps give unrelated streams.
    """
    generator = torch.Generator(device=device)
    generator.manual_seed(_hash(parts) >> 1)  # manual_seed takes 63 bits
    return generator


def sample_keys(indices_B: torch.Tensor, *parts: int | str) -> torch.Tensor:
    """A random stream for each sample: a pure function of `parts`, such as (seed, step), and of the sample's index.

    With the index within the global batch, what a sample draws does not depend on micro-batches, ranks or device.

    Parameters
    ----------
    indices_B : torch.Tensor (B,), int64
        For rank r of w: ``torch.arange(B) * w + r``.
    *parts
        Hashed, so that neighbouring seeds and steps give unrelated streams.

    Returns
    -------
    torch.Tensor (B,), int64
        Keys for `random_bits`, on the device of `indices_B`.
    """
    return _mix(indices_B * _signed(GAMMA) + _signed(_hash(parts)))


def random_bits(keys_B: torch.Tensor, n: int) -> torch.Tensor:
    """The first `n` outputs of each sample's stream: (B, n) int64, every bit of which is random.

    A stream that is read by position costs less than torch.rand on a CPU, and needs no loop on a GPU.
    """
    return _mix(keys_B[:, None] + torch.arange(1, n + 1, device=keys_B.device) * _signed(GAMMA))


def uniform(bits: torch.Tensor) -> torch.Tensor:
    """Random numbers of float64 in the open interval (0, 1): with 52 bits none rounds to 0 or 1."""
    return (_shifted_right(bits, 12).double() + 0.5) * 2.0**-52


def choose_visible(
    measured_BG: torch.Tensor,
    n_visible: int,
    keys_B: torch.Tensor,
    log_weights_G: torch.Tensor | None = None,
    n_measured_B: np.ndarray | None = None,
) -> Visible:
    """Draw `n_visible` genes without replacement from each sample's measured genes.

    Parameters
    ----------
    measured_BG : torch.Tensor (B, G), bool
        Genes that the sample's study measured.
    n_visible : int
        K. A sample with fewer measured genes shows all of them; the rest of its row is padding.
    keys_B : torch.Tensor (B,), int64
        Of `sample_keys`; a row of the answer depends on its own key and its own measured genes alone.
    log_weights_G : torch.Tensor (G,), float64, optional
        Logarithms of the genes' weights: each next gene is drawn in proportion to its weight among those left. None =
        uniform.
    n_measured_B : numpy.ndarray (B,), int64, optional
        Measured genes of each sample, where they are known on the host: counting them on a GPU would wait for it.

    Returns
    -------
    Visible
        positions_BK int64 with K = min(n_visible, G), and is_real_BK bool, or None when no sample needs padding.

    Notes
    -----
    The K genes with the largest random numbers are a uniform draw. With weights w the numbers are log w + a Gumbel
    variable, whose K largest are a weighted draw without replacement (Gumbel top-k; Yellott 1977, Efraimidis and
    Spirakis 2006).
    """
    n_genes = measured_BG.shape[1]
    n_visible = min(n_visible, n_genes)
    draw_BG = random_bits(keys_B, n_genes)
    if log_weights_G is None:
        draw_BG = draw_BG.masked_fill(~measured_BG, LOWEST)  # an unmeasured gene comes last
    else:
        draw_BG = (log_weights_G - torch.log(-torch.log(uniform(draw_BG)))).masked_fill(~measured_BG, -torch.inf)
    positions_BK = draw_BG.topk(n_visible, dim=1, sorted=False).indices
    least = int(measured_BG.sum(dim=1).min() if n_measured_B is None else n_measured_B.min())
    if least >= n_visible:
        return Visible(positions_BK, None)
    return Visible(positions_BK, measured_BG.gather(1, positions_BK))


def _hash(parts: tuple[int | str, ...]) -> int:
    """64 bits."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _mix(keys: torch.Tensor) -> torch.Tensor:
    """SplitMix64's finaliser; int64 arithmetic of torch wraps around, as the algorithm wants."""
    keys = (keys ^ _shifted_right(keys, 30)) * _signed(FACTOR_1)
    keys = (keys ^ _shifted_right(keys, 27)) * _signed(FACTOR_2)
    return keys ^ _shifted_right(keys, 31)


def _shifted_right(keys: torch.Tensor, n_bits: int) -> torch.Tensor:
    """As if the 64 bits were unsigned."""
    return (keys >> n_bits) & ((1 << (64 - n_bits)) - 1)


def _signed(bits: int) -> int:
    """The int64 with these 64 bits."""
    return bits - (1 << 64) if bits >> 63 else bits
