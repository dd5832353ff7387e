"""Trials of a network that leave no trace: what does not fit is found out before it costs anything."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..operators.running_statistics import running_statistics


@contextmanager
def without_trace(network: nn.Module) -> Iterator[None]:
    """What is computed in this block changes neither running statistics nor gradients, nor the random numbers that follow."""
    before = {name: values.clone() for name, values in running_statistics(network).items()}
    devices = {parameter.device for parameter in network.parameters() if parameter.device.type == "cuda"}
    try:
        with torch.random.fork_rng(list(devices)):
            yield
    finally:
        network.zero_grad(set_to_none=True)
        for name, values in running_statistics(network).items():
            values.copy_(before[name])


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Within this block the network is in evaluation mode."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)
