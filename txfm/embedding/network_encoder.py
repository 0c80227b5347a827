"""A TxFM's network as an encoder."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch

from txfm.embedding.options import EncoderOptions
from txfm.errors import InputError
from txfm.model import TxFM
from txfm.objective import autocast
from txfm.preprocess import preprocess

# Of the activations of one batch. On a CPU larger batches are no faster; of a GPU's free memory half is taken
CPU_ACTIVATION_BYTES = 2**28
MOST_SAMPLES_CPU, MOST_SAMPLES_CUDA = 64, 1024


class NetworkEncoder:
    """Shows a network the same genes of every sample (`txfm.embedder.Encoder`).

    Parameters
    ----------
    network : TxFM
    visible : numpy.ndarray, int64
        Vocabulary positions to show, ascending.
    options : EncoderOptions

    Raises
    ------
    InputError
        The network has no such layer.
    """

    def __init__(self, network: TxFM, visible: np.ndarray, options: EncoderOptions) -> None:
        layers = network.config.layer_names
        if options.model_layer not in layers:
            raise InputError(
                "The model has no such layer",
                expected=", ".join(layers),
                found=options.model_layer,
                todo="a layer of the file, with raw counts, is named by counts='layers/NAME' (--counts layers/NAME)",
            )
        self._network, self._options = network, options
        self._device = network.cls.device
        self._visible = torch.from_numpy(visible)
        self._positions = self._visible.to(self._device)
        self.batch_size = options.batch_size or self._batch_size()

    def encode(self, counts: sp.csr_matrix) -> np.ndarray:
        """Vectors float32 (n_samples, width) of raw counts (n_samples, G)."""
        return self.encode_layers(counts, (self._options.model_layer,))[:, 0]

    @torch.inference_mode()
    def encode_layers(self, counts: sp.csr_matrix, layers: Sequence[str]) -> np.ndarray:
        """Vectors float32 (n_samples, number of layers, width), of one forward pass.

        Parameters
        ----------
        counts : scipy.sparse.csr_matrix (n_samples, G)
            Raw.
        layers : sequence of str
            Of `ModelConfig.layer_names`.
        """
        config = self._network.config
        out = np.empty((counts.shape[0], len(layers), config.width), dtype=np.float32)
        for start in range(0, len(out), self.batch_size):
            rows = counts[start : start + self.batch_size].astype(np.float64).toarray()
            expression = torch.from_numpy(preprocess(rows, config.preprocessing, config.library_size_counts))
            values = expression[:, self._visible].float().to(self._device)
            for number, vectors in enumerate(self._vectors(values, layers)):
                out[start : start + len(rows), number] = vectors.float().cpu().numpy()
        return out

    def _vectors(self, values: torch.Tensor, layers: Sequence[str]) -> list[torch.Tensor]:
        positions = self._positions.expand(len(values), -1)
        with autocast(self._device, self._options.precision):
            if tuple(layers) == ("cls",):  # without the decoder
                return [self._network.encode(positions, values)]
            outputs = self._network.layer_outputs(positions, values)
        return [outputs[layer] for layer in layers]

    def _batch_size(self) -> int:
        """Samples whose activations fit: qkv, mixed values, MLP hidden and residual of one block, in float32."""
        config = self._network.config
        bytes_per_sample = 4 * (len(self._visible) + 1) * config.width * (6 + 2 * config.mlp_ratio)
        if self._device.type != "cuda":
            return max(1, min(MOST_SAMPLES_CPU, CPU_ACTIVATION_BYTES // bytes_per_sample))
        free_bytes = torch.cuda.mem_get_info(self._device)[0]
        return max(1, min(MOST_SAMPLES_CUDA, free_bytes // 2 // bytes_per_sample))
