"""Which genes of a sample the encoder sees (sec. 2, Masking)."""

import hashlib
from typing import NamedTuple

import torch


class Visible(NamedTuple):
    """Positions of the visible genes, and which of them are padding (None: none is)."""

    positions_BK: torch.Tensor
    is_real_BK: torch.Tensor | None


def seeded_generator(device: torch.device, *parts: int | str) -> torch.Generator:
    """A generator that is a pure function of `parts`, such as (seed, step): no random state has to be saved.

    The parts are hashed, so that neighbouring seeds and steps give unrelated streams.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    generator = torch.Generator(device=device)
    generator.manual_seed(int.from_bytes(digest, "big") >> 1)  # manual_seed takes 63 bits
    return generator


def choose_visible(measured_BG: torch.Tensor, n_visible: int, generator: torch.Generator) -> Visible:
    """Draw `n_visible` genes uniformly without replacement from each sample's measured genes.

    Parameters
    ----------
    measured_BG : torch.Tensor (B, G), bool
        Genes that the sample's study measured.
    n_visible : int
        K. A sample with fewer measured genes shows all of them; the rest of its row is padding.
    generator : torch.Generator
        On the device of `measured_BG`.

    Returns
    -------
    Visible
        positions_BK int64 with K = min(n_visible, G), and is_real_BK bool, or None when no sample needs padding.
    """
    n_genes = measured_BG.shape[1]
    n_visible = min(n_visible, n_genes)
    draw_BG = torch.rand(measured_BG.shape, generator=generator, device=measured_BG.device)
    draw_BG = draw_BG.masked_fill(~measured_BG, -1.0)  # below every draw, so an unmeasured gene comes last
    positions_BK = draw_BG.topk(n_visible, dim=1, sorted=False).indices
    if int(measured_BG.sum(dim=1).min()) >= n_visible:
        return Visible(positions_BK, None)
    return Visible(positions_BK, measured_BG.gather(1, positions_BK))
