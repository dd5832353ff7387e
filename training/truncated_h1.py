"""The H1 loss of MgNO's publication, for comparison with its numbers; the true norm is ``RelativeNorm(grid, field, "H1")``."""

import torch
from torch import Tensor

from ..errors import InputError
from .metrics.metric import FieldMetric, Fields, over_frames


class TruncatedH1(FieldMetric):
    """√Σ_k w_k |û_k − v̂_k|² / √Σ_k w_k |v̂_k|² over the discrete Fourier modes of a grid, w_k = 1 + k_x² + k_y².

    As published (He, Liu, Xu, ICLR 2024, arXiv 2310.19809): k counts whole waves over the array as if it were periodic, and a component
    |k_x| ≥ ``cutoff`` enters w as zero. So it is no norm of the gradient: jumps from one side to the other count, rough parts count as in
    L2. ``cutoff=None`` leaves out the truncation.

    Args:
        field: name of the field, ``(batch, [time,] channel, x, y)``.
        cutoff: 20 as published.

    Raises:
        InputError: the cutoff is no wave number of at least 1.
    """

    def __init__(self, field: str, cutoff: int | None = 20):
        super().__init__(field)
        if cutoff is not None and cutoff < 1:
            raise InputError(f"The cutoff of the truncated H1 norm must be a wave number of at least 1, not {cutoff}.")
        self.cutoff = cutoff

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u, v = self.pair(prediction, truth)
        if u.ndim not in (4, 5):
            raise InputError(f"Field {self.field!r} has shape {tuple(u.shape)}; expected (batch, [time,] channel, x, y).")
        return over_frames(self._norm(u - v) / self._norm(v))

    def _norm(self, u: Tensor) -> Tensor:
        kx, ky = (torch.fft.fftfreq(n, 1 / n, device=u.device, dtype=u.dtype).abs() for n in u.shape[-2:])
        if self.cutoff is not None:
            kx, ky = (torch.where(k < self.cutoff, k, 0) for k in (kx, ky))
        weight = 1 + kx[:, None] ** 2 + ky**2
        modes = torch.view_as_real(torch.fft.fft2(u, norm="ortho")).square().sum(-1)
        return (weight * modes).sum((-3, -2, -1)).sqrt()
