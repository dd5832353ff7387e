"""``torch.compile`` where it works, the operator as it is where it does not, and a line in the log that says which."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .settings import Compilation
from .trial import without_trace

log = logging.getLogger("thalweg")

#: Modes that replay CUDA graphs, whose outputs the next replay overwrites.
_GRAPHS = ("reduce-overhead", "max-autotune")


class CopiedOutputs(nn.Module):
    """A network whose outputs outlive its next call, as those of rollouts must."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: values.clone() for name, values in self.network(fields).items()}


def compiled(operator: nn.Module, mode: Compilation, trial: Callable[[nn.Module], Tensor]) -> nn.Module:
    """The compiled operator if a trial of it, forwards and backwards, succeeds; else the operator itself.

    Every shape of a batch gets a graph of its own, so that the numbers of a step do not depend on the shapes seen before it and a
    resumed run repeats them.

    Args:
        trial: applies a network as training does, to a loss.
    """
    network = torch.compile(operator, dynamic=False, mode=None if mode == "default" else mode)
    assert isinstance(network, nn.Module)
    network = CopiedOutputs(network) if mode in _GRAPHS else network
    try:
        with without_trace(operator):
            trial(network).backward()
    except Exception as error:  # compilers fail in many ways; an error of the operator itself comes again without them
        lines = [line for line in str(error).splitlines() if line.strip()]
        log.warning("torch.compile failed (%s: %s); training goes on without it", type(error).__name__, (lines or [""])[0])
        return operator
    log.info("the operator is compiled by torch.compile, mode %s", mode)
    return network


def begin_step(mode: Compilation | None) -> None:
    """Tell CUDA graphs that what they computed in the step before is no longer needed."""
    if mode in _GRAPHS:
        torch.compiler.cudagraph_mark_step_begin()
