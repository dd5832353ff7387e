"""Training without trajectories: the operator generates the states that it is trained on."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError
from .objective import Apply, Loss, Objective
from .trajectory import frame, previous, require_states, rollout

log = logging.getLogger("thalweg")

_MANY = 0.05  # share of dropped states that is worth a warning


class Pool(Objective):
    """One step from states that the operator itself has reached, judged by a residual that needs no data.

    A pool of ``size`` slots holds a state with its inputs in each. A training step takes as many random slots as the batch has samples,
    advances their states and puts them back; with probability ``reset`` for each frame a slot begins anew from the batch, so that the pool
    covers trajectories from their first frame to about ``1 / reset`` frames [1]. The pool is part of the checkpoint.

    The loss gets the prediction and the inputs; the states that were advanced are ``previous_<name>``.

    Good values: ``size`` 10 to 100 times the batch, ``reset`` one over the number of frames of the rollouts that matter.

    Args:
        loss: see :class:`Objective`; the residual of one step of a scheme.
        states: the fields that the operator takes at one frame and returns at the next.
        size: slots, at least the batch size.
        reset: probability of a reset for each frame that a state is advanced by.
        limit: a state whose largest value exceeds so many times the largest of all that the pool was given is dropped, and its slot begins
            anew. Where all of these are zero, as for flows from rest, only what is not finite is dropped. :meth:`report` counts them.
        trajectories: whether the data are trajectories, ``(batch, time, ...)``. A reset then takes a random frame, and validation compares
            rollouts with them.
        frames: that one application of the operator advances a state by, such as the time factor of a :class:`NeuralStagger`: operators of
            different time factors then learn from states of the same ages.

    References:
        [1] Wandel, Weinmann, Klein (2021), Learning incompressible fluid dynamics from scratch, ICLR, arXiv 2006.08762.

    Raises:
        InputError: ``states`` is no list of names; a number is out of its range.
    """

    def __init__(
        self,
        loss: Loss,
        states: Sequence[str],
        size: int,
        reset: float = 0.01,
        limit: float = 100.0,
        trajectories: bool = False,
        frames: int = 1,
    ):
        super().__init__(loss)
        if isinstance(states, str) or not states:
            raise InputError(f"states must be a list of field names, such as [u], not {states!r}.")
        if size < 1 or not 0 <= reset <= 1 or limit <= 1 or frames < 1:
            raise InputError(
                f"A pool needs size ≥ 1, 0 ≤ reset ≤ 1, limit > 1 and frames ≥ 1; got {size}, {reset}, {limit} and {frames}."
            )
        self.states, self.size, self.reset = tuple(states), size, 1 - (1 - reset) ** frames
        self.limit, self.trajectories = limit, trajectories
        self._slots: dict[str, Tensor] = {}
        self._filled = torch.zeros(size, dtype=torch.bool)
        self._largest: dict[str, Tensor] = {}
        self._counts = torch.zeros(2, dtype=torch.float64)  # states that were reached and, of them, dropped since the last report
        self._reached: list[tuple[Tensor, dict[str, Tensor], Tensor]] = []

    def start(self, step: int, seed: int = 0, *streams: int) -> None:
        """Begin a step: what the one before has reached goes into the pool; begun again, a step starts from the same pool."""
        if step != self.step:
            self._put_back()
        self._reached.clear()
        super().start(step, seed, *streams)

    def forward(self, operator: Apply, batch: dict[str, Tensor]) -> Tensor:
        fresh = self._instant(batch, self.choices.randrange(batch[self.states[0]].shape[1]) if self.trajectories else 0)
        rows, fields = self._drawn(fresh)
        prediction = operator(fields)
        require_states(prediction, self.states)
        self._reached.append((rows, *self._kept(fields, prediction, fresh)))
        return self.judge(prediction, self._judged_against(fields))

    def predict(self, operator: Apply, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The rollout of trajectories, with the frames it is to meet; else one step from the batch, with its inputs."""
        if self.trajectories:
            steps = batch[self.states[0]].shape[1] - 1
            met = {name: values[:, 1:] if values.ndim == batch[self.states[0]].ndim else values for name, values in batch.items()}
            return rollout(operator, batch, self.states, steps), met
        return operator(batch), self._judged_against(batch)

    def report(self) -> dict[str, float]:
        """The share of states that were dropped from the pool since the last report, as ``pool_dropped``; a warning if it is large."""
        self._put_back()
        reached, dropped = self._counts.tolist()
        self._counts.zero_()
        if dropped > _MANY * reached:
            log.warning(
                "%d of the pool's %d states went beyond its limit and were dropped: rollouts diverge. Lower the learning rate, or raise "
                "the pool's reset or limit.",
                dropped,
                reached,
            )
        return {"pool_dropped": dropped / max(reached, 1.0)}

    def get_extra_state(self) -> dict[str, object]:
        self._put_back()
        return {"slots": self._slots, "filled": self._filled, "largest": dict(self._largest), "counts": self._counts.clone()}

    def set_extra_state(self, state: dict) -> None:
        self._slots, self._filled = dict(state["slots"]), state["filled"]
        self._largest, self._counts = dict(state["largest"]), state["counts"].clone()
        self._reached.clear()

    def _instant(self, batch: dict[str, Tensor], number: int) -> dict[str, Tensor]:
        return frame(batch, number, self.states) if self.trajectories else batch

    def _judged_against(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: values for name, values in fields.items() if name not in self.states} | previous(fields)

    def _drawn(self, fresh: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Random slots ``(batch,)`` and what they hold; fresh samples where a slot is empty or reset."""
        like = fresh[self.states[0]]
        count, device = like.shape[0], like.device
        if count > self.size:
            raise InputError(f"A pool of {self.size} slots cannot serve a batch of {count}; make it larger.")
        if not self._slots:
            self._slots = {name: values.new_zeros(self.size, *values.shape[1:]) for name, values in fresh.items()}
        self._slots = {name: values.to(device) for name, values in self._slots.items()}
        self._filled = self._filled.to(device)
        generator = self.random_numbers(device)
        rows = torch.randperm(self.size, generator=generator, device=device)[:count]
        reset = torch.rand(count, generator=generator, device=device) < self.reset
        anew = reset | ~self._filled[rows]
        fields = {name: torch.where(_like(anew, values), values, self._slots[name][rows]) for name, values in fresh.items()}
        return rows, fields

    def _kept(
        self, fields: dict[str, Tensor], prediction: dict[str, Tensor], fresh: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """What goes back into the slots, and which of it is worth keeping."""
        reached = {name: prediction[name].detach() for name in self.states}
        bounded = []
        for name, u in reached.items():
            given, largest = fresh[name].abs().amax(), u.flatten(1).abs().amax(1)
            self._largest[name] = torch.maximum(self._largest.get(name, given).to(given), given)
            scale = self._largest[name]
            bounded.append(torch.isfinite(largest) & ((largest <= self.limit * scale) | (scale == 0)))
        return fields | reached, torch.stack(bounded).all(0)

    def _put_back(self) -> None:
        for rows, fields, kept in self._reached:
            self._counts = self._counts.to(rows.device) + torch.stack([torch.ones_like(kept), ~kept]).sum(1)
            for name, values in fields.items():
                self._slots[name][rows] = values
            self._filled[rows] = kept
        self._reached.clear()


def _like(mask: Tensor, values: Tensor) -> Tensor:
    """A mask of samples ``(batch,)`` that broadcasts against fields."""
    return mask.reshape(-1, *[1] * (values.ndim - 1))
