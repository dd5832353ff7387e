"""The networks of all subtasks: their weights side by side, evaluated in one batched call, one by one, or on several processes."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...errors import InputError
from ..running_statistics import running_statistics
from .decomposition import Decomposition
from .processes import Share, gathered, own_range, require_same

Weights = Literal["subtask", "sub_grid", "shared"]
Execution = Literal["batched", "one_by_one", "processes"]


class SubtaskNetworks(nn.Module):
    """One network a subtask: ``(subtasks, batch, in_channels, X, Y[, Z]) -> (subtasks, batch, out_channels, X, Y[, Z])``.

    Every parameter of the network exists once for each set of weights, along a new first axis, and so do the running statistics of
    batch normalisation. Other buffers, which must not change during evaluation, are common to all.

    Args:
        network: from ``in_channels`` and ``out_channels`` to a network ``(batch, channel, x, y[, z]) -> same``; called once for each
            set of weights, so that all start differently.
        decomposition: what there are subtasks of.
        in_channels, out_channels: channels of each subtask.
        weights: a network for each ``"subtask"``; for each ``"sub_grid"``, common to its time sequences, which loses nothing where the
            equation does not depend on time; or one that is ``"shared"`` and told its sub-grid by ``embedding`` learned numbers.
        embedding: channels that tell a shared network its sub-grid.
        execution: all in one ``"batched"`` call (``torch.func.vmap``), ``"one_by_one"``, or shared among the ``"processes"`` of
            ``torchrun``, which must all be given the same fields and get all results and all gradients. Results do not depend on it.

    Raises:
        InputError: unknown options, a network with tied weights, or with running statistics on several processes; in use, one that cannot
            be batched.
    """

    def __init__(
        self,
        network: Callable[..., nn.Module],
        decomposition: Decomposition,
        in_channels: int,
        out_channels: int,
        *,
        weights: Weights = "subtask",
        embedding: int = 4,
        execution: Execution = "batched",
    ):
        super().__init__()
        if weights not in get_args(Weights) or execution not in get_args(Execution):
            raise InputError(
                f"Weights are {', '.join(get_args(Weights))} and execution is {', '.join(get_args(Execution))}; "
                f"got {weights!r} and {execution!r}."
            )
        if weights == "shared" and embedding < 1:
            raise InputError(f"A shared network needs an embedding of 1 channel or more, not {embedding}.")
        self.num_subtasks, self.out_channels, self.execution = decomposition.num_subtasks, out_channels, execution
        #: Subtasks that use the same weights.
        self.subtasks_each = {"subtask": 1, "sub_grid": decomposition.time, "shared": self.num_subtasks}[weights]
        self.embedding = None
        if weights == "shared":
            codes = torch.randn(decomposition.num_sub_grids, embedding)
            self.embedding = nn.Parameter(codes)
            in_channels += embedding
        self.sequences = decomposition.time
        copies = [network(in_channels=in_channels, out_channels=out_channels) for _ in range(self.num_networks)]
        self.stacked = _stacked(copies)
        self._same_everywhere = False
        self._values = [*dict(self.stacked.named_parameters()), *running_statistics(self.stacked)]
        if execution == "processes" and running_statistics(self.stacked):
            raise InputError(
                "Running statistics are not shared among processes; use GroupNorm or LayerNorm instead of batch normalisation."
            )

    @property
    def num_networks(self) -> int:
        """Sets of weights."""
        return self.num_subtasks // self.subtasks_each

    def forward(self, x: Tensor, subtasks: Tensor | None = None) -> Tensor:
        """All subtasks; or some, numbered by ``subtasks`` as the parts of ``x`` are, which are computed in this process.

        Raises:
            InputError: another number of parts, or networks that change the shape.
        """
        expected = self.num_subtasks if subtasks is None else len(subtasks)
        if x.shape[0] != expected:
            raise InputError(f"There are {expected} subtasks, but {x.shape[0]} parts: {tuple(x.shape)}.")
        if subtasks is not None:
            y = self._evaluate(x, subtasks, self._weights_of(subtasks), self.embedding)
        elif self.execution == "processes":
            y = self._on_processes(x)
        else:
            everything = torch.arange(self.num_subtasks, device=x.device)
            y = self._evaluate(x, everything, self._stack(), self.embedding)
        if y.shape[:2] != x.shape[:2] or y.shape[3:] != x.shape[3:] or y.shape[2] != self.out_channels:
            raise InputError(
                f"A network gave {tuple(y.shape[1:])} for {tuple(x.shape[1:])}; expected {self.out_channels} channels on the same grid. "
                "It has to keep the shape of a sub-grid; some need sizes that are divisible by a power of two."
            )
        return y

    def single(self, subtask: int) -> tuple[nn.Module, Tensor | None]:
        """The network of one subtask by itself, a copy, and the code of its sub-grid if the weights are shared."""
        index = subtask // self.subtasks_each
        network = deepcopy(self.stacked)
        for name, value in self._stack().items():
            _replace(network, name, value.detach()[index].clone())
        code = None if self.embedding is None else self.embedding.detach()[subtask // self.sequences].clone()
        return network, code

    def _stack(self) -> dict[str, Tensor]:
        """All that exists once for each set of weights."""
        values = dict(self.stacked.named_parameters()) | dict(self.stacked.named_buffers())
        return {name: values[name] for name in self._values}

    def _weights_of(self, subtasks: Tensor) -> dict[str, Tensor]:
        """A set of weights for each of these subtasks, in their order; the one set where all share it."""
        stack = self._stack()
        return stack if self.num_networks == 1 else {name: p[subtasks // self.subtasks_each] for name, p in stack.items()}

    def _evaluate(self, x: Tensor, subtasks: Tensor, parameters: Mapping[str, Tensor], embedding: Tensor | None) -> Tensor:
        """Parts ``(subtasks, batch, ...)``; each set of the ``parameters`` is for as many that follow one another."""
        if embedding is not None:
            codes = embedding[subtasks // self.sequences]
            codes = codes[:, None, :, *[None] * (x.dim() - 3)].expand(*x.shape[:2], -1, *x.shape[3:])
            x = torch.cat([x, codes], 2)
        groups = x.unflatten(0, (len(next(iter(parameters.values()))), -1))
        return self._call_each(parameters, groups.flatten(1, 2)).unflatten(1, groups.shape[1:3]).flatten(0, 1)

    def _call_each(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        if self.execution == "one_by_one" or len(x) == 1:
            parts = [self._call({name: p[i] for name, p in parameters.items()}, x[i]) for i in range(len(x))]
            return torch.stack(parts)
        try:
            return torch.vmap(self._call, randomness="different")(dict(parameters), x)
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            raise InputError(
                f"Networks of this kind cannot be batched ({error}). Use execution=one_by_one, or processes."
            ) from error

    def _call(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(self.stacked, dict(parameters), (x,))

    def _on_processes(self, x: Tensor) -> Tensor:
        """Each process computes a contiguous range of networks, or of subtasks where these share one network."""
        alone = self.num_networks == 1
        units, each = (self.num_subtasks, 1) if alone else (self.num_networks, self.subtasks_each)
        low, high = own_range(units)
        if not self._same_everywhere:
            require_same(x)
            self._same_everywhere = True
        own = torch.arange(low * each, high * each, device=x.device)
        first, last = (0, 1) if alone else (low, high)
        parameters = {name: Share.apply(p, first, last) for name, p in self._stack().items()}
        embedding = None if self.embedding is None else Share.apply(self.embedding, 0, len(self.embedding))
        y = self._evaluate(Share.apply(x, low * each, high * each), own, parameters, embedding)
        return gathered(y, units, each)


def _stacked(copies: list[nn.Module]) -> nn.Module:
    """The first network with the parameters and running statistics of all, stacked."""
    first = copies[0]
    if len(list(first.named_parameters(remove_duplicate=False))) != len(list(first.named_parameters())):
        raise InputError("The network uses one parameter in two places; its weights cannot be stacked.")
    values = [dict(network.named_parameters()) | running_statistics(network) for network in copies]
    for name in values[0]:
        _replace(first, name, torch.stack([v[name].detach() for v in values]))
    return first


def _replace(network: nn.Module, name: str, value: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    part = network.get_submodule(owner)
    setattr(part, leaf, nn.Parameter(value) if leaf in part._parameters else value)
