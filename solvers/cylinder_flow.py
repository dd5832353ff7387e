"""The vortex street behind a cylinder, as in the DFG benchmarks 2D-2 and 2D-3."""

from typing import Unpack

from .channel_flow import ChannelFlow, FlowOptions
from .cylinder_channel import CylinderChannel


class CylinderFlow(ChannelFlow):
    """Flow in the DFG channel past a cylinder, in metres and seconds; see :class:`ChannelFlow`.

    With Reynolds numbers Ū D/ν above about 50, vortices are shed, fully after about 4 s. Random inflows are those of
    :class:`SteadyCylinderFlow`. The last second of a ``developed`` flow has three periods and more.

    Benchmarks (Schäfer and Turek, 1996): the parabola of peak 1.5 m/s is 2D-2, Reynolds number 100; with ``period=16`` it is 2D-3.

    Args:
        mesh: mesh file with the boundary parts inflow, outflow, walls and cylinder, or the name of one that comes with thalweg.
        refinements: how often the mesh is refined.
        options: keywords of :class:`ChannelFlow`, with its defaults. ``dt=5e-4`` fits peaks of 1.5 on the default mesh.
    """

    dirichlet = CylinderChannel.boundary

    def __init__(self, mesh: str = "cylinder_channel.msh", refinements: int = 0, **options: Unpack[FlowOptions]):
        super().__init__(CylinderChannel(mesh, refinements), **options)
