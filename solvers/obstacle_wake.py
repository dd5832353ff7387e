"""Unsteady flow past round obstacles in a channel, each set of them with a mesh of its own."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Unpack

import numpy as np

from ..errors import InputError
from ..fem import mesh_hierarchy
from .channel_flow import ChannelFlow, FlowOptions
from .family import ProblemFamily
from .flow_channel import FlowChannel
from .obstacles import Channel, Disc, obstacle_mesh


class ObstacleChannel(FlowChannel):
    """Spaces on a mesh around discs, made by gmsh.

    Args:
        channel: the rectangle.
        discs: one or more.
        size: of cells away from the discs.
        near: of cells on their rims.
        refinements: how often the mesh is refined.

    Raises:
        InputError: there are no discs, or they overlap or leave the channel.
    """

    boundary = ("inflow", "walls", "obstacles")

    def __init__(self, channel: Channel, discs: Sequence[Disc], size: float, near: float, refinements: int = 0):
        if not discs:
            raise InputError("A flow past obstacles needs one at least.")
        super().__init__(mesh_hierarchy(obstacle_mesh(channel, discs, size, near), refinements), channel.height, discs)


class ObstacleWake(ChannelFlow):
    """Flow in a channel past given round obstacles, whose wakes meet; see :class:`ChannelFlow`.

    Good values: the defaults, vortex streets of Reynolds numbers U D/ν of 70 to 130, U the mean inflow, on meshes of about 2000 cells.

    Args:
        obstacles: x, y and radius of each, or discs.
        channel: length and height.
        size: of cells away from the obstacles.
        near: of cells on their rims.
        refinements: how often the mesh is refined.
        options: keywords of :class:`ChannelFlow`; the defaults are ``defaults``, else its own.

    Raises:
        InputError: obstacles overlap or leave the channel; times that no constant step meets.
    """

    dirichlet = ObstacleChannel.boundary
    defaults: ClassVar[FlowOptions] = {
        "viscosity": 1.5e-3,
        "peak": (0.8, 1.2),
        "spin_up": 10.0,
        "duration": 2.0,
        "frames": 41,
        "dt": 2.5e-3,
    }

    def __init__(
        self,
        obstacles: Sequence[Disc | Sequence[float]],
        channel: tuple[float, float] = (4.0, 1.0),
        size: float = 0.1,
        near: float = 0.04,
        refinements: int = 0,
        **options: Unpack[FlowOptions],
    ):
        discs = [disc if isinstance(disc, Disc) else Disc(*disc) for disc in obstacles]
        super().__init__(ObstacleChannel(Channel(*channel), discs, size, near, refinements), **(self.defaults | options))


class OnRandomObstacles(ProblemFamily):
    """A problem on channels with random discs, as :class:`ObstacleFlow` draws them.

    Args:
        problem: makes the problem from ``obstacles`` and ``channel``, such as ``partial(ObstacleWake, viscosity=1e-3)``.
        number: range of the number of discs.
        radius: range of their radii.
        gap: the least distance between discs, and between discs and walls.
        channel: length and height.

    Raises:
        InputError: the ranges are empty.
    """

    def __init__(
        self,
        problem: Callable[..., ChannelFlow] = ObstacleWake,
        number: tuple[int, int] = (1, 3),
        radius: tuple[float, float] = (0.08, 0.15),
        gap: float = 0.1,
        channel: tuple[float, float] = (4.0, 1.0),
    ):
        if not (1 <= number[0] <= number[1] and 0 < radius[0] <= radius[1]):
            raise InputError(
                f"Obstacles need ranges of numbers from 1 on and of positive radii; got {tuple(number)} and {tuple(radius)}."
            )
        self.problem, self.number, self.radius, self.gap, self.channel = problem, number, radius, gap, tuple(channel)

    def member(self, seed: int, k: int) -> ChannelFlow:
        return self.problem(self.random_discs(np.random.default_rng(np.random.SeedSequence((seed, k)))), channel=self.channel)

    def random_discs(self, rng: np.random.Generator) -> list[Disc]:
        """The obstacles of a member.

        Raises:
            InputError: so many discs of that size find no place.
        """
        return Channel(*self.channel).random_discs(rng, self.number, self.radius, self.gap)
