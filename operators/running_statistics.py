"""The buffers of a network that its evaluation changes: the running means and variances of batch normalisation."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def running_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Buffers that change while the network is trained, by name; all others are part of what it is."""
    owners = {name: part for name, part in network.named_modules() if isinstance(part, _BatchNorm) and part.track_running_stats}
    return {f"{owner}.{leaf}" if owner else leaf: b for owner, part in owners.items() for leaf, b in part.named_buffers()}
