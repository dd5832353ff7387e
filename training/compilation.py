"""``torch.compile`` where it works, the operator as it is where it does not, and a line in the log that says which."""

import logging

import torch
from torch import Tensor, nn

from .settings import Compilation

log = logging.getLogger("thalweg")


def compiled(operator: nn.Module, fields: dict[str, Tensor], mode: Compilation) -> nn.Module:
    """The compiled operator, tried forwards and backwards on a batch; the operator itself if that fails.

    Every shape of a batch gets a graph of its own, so that the numbers of a step do not depend on the shapes seen before it and a
    resumed run repeats them.
    """
    network = torch.compile(operator, dynamic=False, mode=None if mode == "default" else mode)
    devices = [values.device for values in fields.values() if values.device.type == "cuda"][:1]
    try:
        with torch.random.fork_rng(devices):
            outputs = network(dict(fields))
            torch.stack([values.float().square().mean() for values in outputs.values()]).sum().backward()
    except Exception as error:  # compilers fail in many ways; an error of the operator itself comes again without them
        lines = [line for line in str(error).splitlines() if line.strip()]
        log.warning("torch.compile failed (%s: %s); training goes on without it", type(error).__name__, (lines or [""])[0])
        return operator
    finally:
        operator.zero_grad(set_to_none=True)
    log.info("the operator is compiled by torch.compile, mode %s", mode)
    assert isinstance(network, nn.Module)
    return network
