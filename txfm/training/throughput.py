"""How fast a training is: samples and tokens a second, share of the device's peak, time left."""

import time
from dataclasses import dataclass

import torch

from txfm.hardware import Hardware

# Dense bf16 peaks in TFLOP/s, from the vendors' data sheets (half of the figures that count on sparsity). The first
# entry whose words are all in torch.cuda.get_device_name() counts.
BF16_PEAKS: tuple[tuple[str, float], ...] = (
    ("B200", 2250.0),  # NVIDIA HGX B200
    ("GH200", 989.4),  # NVIDIA GH200
    ("H200", 989.4),  # NVIDIA H200; the NVL card has 835
    ("H100 PCIe", 756.0),  # NVIDIA H100 PCIe
    ("H100 NVL", 835.5),  # NVIDIA H100 NVL
    ("H100", 989.4),  # NVIDIA H100 SXM5
    ("H800", 989.4),  # NVIDIA H800 SXM
    ("A100", 311.9),  # NVIDIA A100, PCIe and SXM4
    ("A800", 311.9),  # NVIDIA A800
    ("A40", 149.7),  # NVIDIA A40
    ("A30", 165.0),  # NVIDIA A30
    ("A10G", 70.0),  # AWS G5
    ("A10", 125.0),  # NVIDIA A10
    ("L40S", 362.1),  # NVIDIA L40S
    ("L40", 181.1),  # NVIDIA L40
    ("L4", 121.0),  # NVIDIA L4
    ("RTX 4090", 165.2),  # NVIDIA Ada whitepaper, with float32 accumulation
    ("RTX 3090", 71.2),  # NVIDIA Ampere GA102 whitepaper, with float32 accumulation
    ("MI300X", 1307.4),  # AMD Instinct MI300X
    ("MI250X", 383.0),  # AMD Instinct MI250X, both dies
)


def known_peak(hardware: Hardware) -> float | None:
    """Dense bf16 peak of the device in FLOP/s; None for a device that is not listed, a CPU, or another precision."""
    if hardware.device.type != "cuda" or hardware.precision != "bf16":
        return None
    return peak_of(torch.cuda.get_device_name(hardware.device))


def peak_of(device_name: str) -> float | None:
    """The peak by the name that torch gives a device: "NVIDIA H100 80GB HBM3"."""
    given = set(device_name.replace("-", " ").split())
    for words, tera in BF16_PEAKS:
        if set(words.split()) <= given:
            return tera * 1e12
    return None


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Of one window of steps, over all ranks.

    Attributes
    ----------
    samples_per_s, tokens_per_s : float
    mfu : float or None
        Model FLOPs utilisation: matrix-multiplication FLOPs of forward and backward over the peak of all devices.
    seconds_left : float
        Until the last step, at this speed.
    """

    samples_per_s: float
    tokens_per_s: float
    mfu: float | None
    seconds_left: float


class Stopwatch:
    """Measures windows of steps; what happens between two windows (validation) does not count.

    Parameters
    ----------
    flops_per_sample : float
    tokens_per_sample : int
    peak_flops : float, optional
        Of all devices together, a second.
    """

    def __init__(self, flops_per_sample: float, tokens_per_sample: int, peak_flops: float | None) -> None:
        self._flops_per_sample, self._tokens_per_sample = flops_per_sample, tokens_per_sample
        self._peak_flops = peak_flops
        self.restart()

    def restart(self) -> None:
        """Begin a window."""
        self._started, self._n_samples, self._n_steps = time.perf_counter(), 0, 0

    def count(self, n_samples: int) -> None:
        """A step over this many samples has been taken."""
        self._n_samples += n_samples
        self._n_steps += 1

    def lap(self, steps_left: int) -> Speed:
        """The speed of the window that ends now; another begins. At least one step was counted."""
        seconds = max(time.perf_counter() - self._started, 1e-9)
        rate, seconds_left = self._n_samples / seconds, steps_left * seconds / max(self._n_steps, 1)
        peak = self._peak_flops
        speed = Speed(
            samples_per_s=rate,
            tokens_per_s=rate * self._tokens_per_sample,
            mfu=None if peak is None else rate * self._flops_per_sample / peak,
            seconds_left=seconds_left,
        )
        self.restart()
        return speed
