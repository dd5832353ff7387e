"""NeuralStagger: coarse solvers on interleaved sub-grids and time sequences, which together give the full resolution."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ...errors import InputError
from ..encoders import Fields
from ..operator import Operator
from .coarse import CoarseSolver
from .courant import Courant
from .decomposition import Decomposition
from .exchange import Ends, Exchange
from .frames import Frames
from .networks import Execution, SubtaskNetworks, Weights


class NeuralStagger(Operator):
    """A block of s_t frames of a flow to the next block, by one network a subtask (Huang et al., ICML 2023, arXiv 2302.10255).

    Each network sees one sub-grid of one time sequence and advances it by s_t frames; nothing is exchanged between subtasks, so a
    rollout of any of them needs no other, and all can run in parallel. In units of the state's scale, u' = u + g N(u, inputs), where g
    is the scale of what changes within s_t frames, so that untrained networks start near persistence. u' is cut off at ``limit``
    scales: a rollout stays bounded whatever the networks do.

    What a sub-grid is too coarse to show, its networks cannot know. With ``exchange`` the sub-grids of a time sequence tell each other
    before and after each step: all can still run in parallel, but none without the others.

    The first block is the reference solver's: ``equation.solve(w, dt, s_t - 1, dt=dt)`` for a :class:`VorticityEquation`.

    Fields are ``(batch, time, channel, x, y[, z])`` with s_t frames, ``(batch, channel, x, y[, z])`` also if s_t is 1; inputs that
    do not change need no time axis. Fields of different numbers of points (vertices and centres of the same cells) need a padding.

    Args:
        network: from ``in_channels`` and ``out_channels`` to a network ``(batch, channel, x, y[, z]) -> same``, for example a class.
        decomposition: into sub-grids and time sequences.
        state: channels of each field that is advanced.
        inputs: channels of each further field, at the frames that are predicted.
        held: for a field of the state, the input that says where it moves: 1 there, 0 where it stays as it is, exactly (a stream function
            on walls). It is not shown to the networks unless it is in ``inputs``, too.
        weights, embedding, execution: see :class:`SubtaskNetworks`.
        exchange: for a :class:`WithFeatures` network: before each step, sub-grids are told of the re-assembled field of their time
            sequence, which is ``"periodic"`` or goes on as ``"replicate"`` says, and after it their answers are mixed; see
            :class:`Exchange`. By default each sub-grid is on its own.
        mixing: channels that are exchanged, if any are.
        limit: bound of the state in units of its scale; good values: 10 to 20.
        courant: the CFL condition to be met, if given.
        derived: a module from the fields of the state to further fields, such as their velocity, which are returned with them.

    Raises:
        InputError: impossible options, a time factor that violates the CFL condition.
    """

    state_scale: Tensor
    gain: Tensor
    input_scale: Tensor

    def __init__(
        self,
        network: Callable[..., nn.Module],
        decomposition: Decomposition,
        state: Mapping[str, int],
        *,
        inputs: Mapping[str, int] | None = None,
        held: Mapping[str, str] | None = None,
        weights: Weights = "subtask",
        embedding: int = 4,
        execution: Execution = "batched",
        exchange: Ends | None = None,
        mixing: int = 16,
        limit: float = 10.0,
        courant: Courant | None = None,
        derived: nn.Module | None = None,
    ):
        super().__init__()
        if not state or limit <= 0 or set(held or {}) - set(state):
            raise InputError(
                f"NeuralStagger needs a field to advance and a positive limit, and holds fields of the state only; got state "
                f"{dict(state)}, limit {limit}, held {dict(held or {})}."
            )
        if courant is not None:
            courant.require(decomposition)
        self.decomposition, self.limit, self.derived = decomposition, limit, derived
        self.spans_processes = execution == "processes"
        self.frames = Frames(decomposition, dict(state), dict(inputs or {}), dict(held or {}))
        channels, further = sum(state.values()), sum((inputs or {}).values())
        seen, answers = channels + further, channels
        self.exchange = None
        if exchange is not None:
            self.exchange = Exchange(network(in_channels=seen, out_channels=channels), exchange, mixing)
            network, answers = self.exchange.inner(network), mixing
            seen += self.exchange.channels
        self.networks = SubtaskNetworks(
            network, decomposition, seen, answers, weights=weights, embedding=embedding, execution=execution
        )
        ones = (1,) * decomposition.dim
        self.register_buffer("state_scale", torch.ones(channels, *ones))
        self.register_buffer("gain", torch.ones(channels, *ones))
        self.register_buffer("input_scale", torch.ones(further, *ones))

    @torch.no_grad()
    def set_scales(self, fields: Fields) -> None:
        """Take the root mean squares of the fields, and of their change within s_t frames, from trajectories of 2 s_t frames or more.

        State ``(samples, time, channel, x, y[, z])``; fields with several channels have one scale.

        Raises:
            InputError: too few frames, or missing fields.
        """
        dim, s_t = self.decomposition.dim, self.decomposition.time
        scales, gains = [], []
        for name, channels in self.frames.state.items():
            u = self.frames.field(fields, name, channels)
            if u.dim() != dim + 3 or u.shape[1] < 2 * s_t:
                raise InputError(
                    f"A time factor of {s_t} needs trajectories of {2 * s_t} frames or more, (samples, time, channel, ...), one block to "
                    f"start from and one to predict; field {name!r} has shape {tuple(u.shape)}. Take a smaller time factor or longer "
                    "trajectories."
                )
            scale = _root_mean_square(u)
            scales += [scale] * channels
            gains += [_root_mean_square(u[:, s_t:] - u[:, :-s_t]) / scale] * channels
        self.state_scale.copy_(torch.stack(scales).reshape_as(self.state_scale))
        self.gain.copy_(torch.stack(gains).reshape_as(self.gain))
        for start, (name, channels) in zip(self.frames.input_starts, self.frames.inputs.items(), strict=True):
            self.input_scale[start : start + channels] = _root_mean_square(self.frames.field(fields, name, channels))

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        """The next block of frames.

        Raises:
            InputError: missing fields, wrong shapes or dtype.
        """
        u = self._started(fields)
        conditions, moves = self._conditions(fields, 1)
        u = self._advance(u, conditions[0], moves[0], self.frames.points(fields))
        return self._finished(u[:, :, None], fields)

    def rollout(self, fields: Fields, steps: int) -> dict[str, Tensor]:
        """The given block and the ``steps`` blocks after it, ``(batch, s_t (steps + 1), channel, x, y[, z])``.

        Inputs with a time axis have the s_t · steps frames that are predicted. Fields are split once and merged once.
        """
        return self._finished(self._rolled_out(fields, steps, None), fields, keep_time=True)

    def coarse_rollout(
        self, fields: Fields, steps: int, sub_grids: Sequence[int] = (0,), sequences: Sequence[int] = (0,)
    ) -> dict[str, Tensor]:
        """Rollouts of some coarse solvers alone, ``(sub-grids, sequences, batch, steps + 1, channel, X, Y[, Z])``, on their own grids.

        The work is that of as many subtasks as are asked for; with ``exchange`` all sub-grids have to be. Sub-grid (p, q) has the points
        s_x i + p, s_y j + q, and frame n of sequence k is frame s_t n + k.
        """
        s_t = self.decomposition.time
        if not sub_grids or not sequences or steps < 1:
            raise InputError(f"Nothing to compute: sub-grids {sub_grids}, sequences {sequences}, {steps} steps.")
        if min(*sub_grids, *sequences) < 0 or max(sub_grids) >= self.decomposition.num_sub_grids or max(sequences) >= s_t:
            raise InputError(
                f"{self.decomposition} has no sub-grids {list(sub_grids)} with the time sequences {list(sequences)}."
            )
        if self.exchange is not None and list(sub_grids) != list(range(self.decomposition.num_sub_grids)):
            raise InputError(f"With exchange, sub-grids need each other; {list(sub_grids)} are not all of them, in order.")
        subtasks = torch.tensor([s * s_t + k for s in sub_grids for k in sequences])
        u = self._rolled_out(fields, steps, subtasks.to(self.state_scale.device)) * self.state_scale
        u = u.unflatten(0, (len(sub_grids), len(sequences)))
        channels = self.frames.state.values()
        return dict(zip(self.frames.state, u.split(list(channels), -self.decomposition.dim - 1), strict=True))

    def coarse_solver(self, sub_grid: int = 0, sequence: int = 0) -> CoarseSolver:
        """One subtask as a module of its own, without the cost of looking after the others; a copy with the present weights.

        Raises:
            InputError: with ``exchange``, no subtask can do without the others.
        """
        if self.exchange is not None:
            raise InputError("With exchange, a sub-grid needs the others at every step; there is no coarse solver by itself.")
        network, code = self.networks.single(sub_grid * self.decomposition.time + sequence)
        return CoarseSolver(network, self.state_scale, self.gain, self.input_scale, self.limit, code)

    def _rolled_out(self, fields: Fields, steps: int, subtasks: Tensor | None) -> Tensor:
        """Parts in units of the scale, ``(subtasks, batch, steps + 1, channel, X, Y[, Z])``."""
        if steps < 1:
            raise InputError(f"A rollout has 1 step or more, not {steps}.")
        u = self._started(fields)
        conditions, moves = self._conditions(fields, steps)
        if subtasks is not None:
            u = u[subtasks]
            conditions, moves = ([None if c is None else c[subtasks] for c in parts] for parts in (conditions, moves))
        blocks, points = [u], self.frames.points(fields)
        for step in range(steps):
            u = self._advance(u, conditions[step % len(conditions)], moves[step % len(moves)], points, subtasks)
            blocks.append(u)
        return torch.stack(blocks, 2)

    def _started(self, fields: Fields) -> Tensor:
        return self.frames.split_state(fields, self.state_scale.dtype) / self.state_scale

    def _conditions(self, fields: Fields, steps: int) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Inputs in units of their scale, and where the state moves, by step; one entry if they do not change."""
        inputs = self.frames.split_inputs(fields, steps)
        moves = self.frames.split_moves(fields, steps)
        return [None if c is None else c / self.input_scale for c in inputs], moves

    def _advance(
        self, u: Tensor, conditions: Tensor | None, moves: Tensor | None, points: tuple[int, ...], subtasks: Tensor | None = None
    ) -> Tensor:
        x = u if conditions is None else torch.cat([u, conditions.expand(*u.shape[:2], *conditions.shape[2:])], 2)
        change = self.networks(x, subtasks) if self.exchange is None else self._together(self.exchange, x, points, subtasks)
        change = change * self.gain
        if moves is not None:
            change = change * moves
        return (u + change).clamp(-self.limit, self.limit)

    def _together(self, exchange: Exchange, x: Tensor, points: tuple[int, ...], subtasks: Tensor | None) -> Tensor:
        """The change of parts that exchange; the fields that they make together have so many points."""
        lead, coarse = (x.shape[0] // self.decomposition.num_sub_grids, x.shape[1]), x.shape[3:]

        def whole(parts: Tensor) -> Tensor:
            return self.decomposition.merge(parts.unflatten(0, (self.decomposition.num_sub_grids, -1)), points).flatten(0, 1)

        def in_parts(u: Tensor) -> Tensor:
            padded = self.decomposition.padded(u, [n * s for n, s in zip(coarse, self.decomposition.space, strict=True)])
            return self.decomposition.split(padded.unflatten(0, lead)).flatten(0, 1)

        told = exchange(whole(x))
        answers = self.networks(torch.cat([x, in_parts(told)], 2), subtasks)
        return in_parts(exchange.change(whole(answers), told))

    def _finished(self, parts: Tensor, fields: Fields, keep_time: bool = False) -> dict[str, Tensor]:
        """Full fields of ``(subtasks, batch, blocks, channel, X, Y[, Z])``, in physical units."""
        result = self.frames.merge_state(parts * self.state_scale, fields, keep_time)
        return result if self.derived is None else {**result, **self.derived(result)}


def _root_mean_square(u: Tensor) -> Tensor:
    value = u.double().square().mean().sqrt()
    return torch.where(value > 0, value, torch.ones_like(value)).to(u.dtype)
