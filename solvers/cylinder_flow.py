"""The vortex street behind a cylinder, as in the DFG benchmarks 2D-2 and 2D-3."""

from .channel_flow import ChannelFlow
from .cylinder_channel import CylinderChannel


class CylinderFlow(ChannelFlow):
    """Flow in the DFG channel past a cylinder, in metres and seconds; see :class:`ChannelFlow`.

    With Reynolds numbers Ū D/ν above about 50, vortices are shed, fully after about 4 s. Random inflows are those of
    :class:`SteadyCylinderFlow`.

    Benchmarks (Schäfer and Turek, 1996): the parabola of peak 1.5 m/s is 2D-2, Reynolds number 100; with ``period=16`` it is 2D-3.

    Args:
        mesh: mesh file with the boundary parts inflow, outflow, walls and cylinder, or the name of one that comes with thalweg.
        viscosity: ν in m²/s.
        peak: range of the random peaks of the inflow in m/s.
        spin_up: time of the first frame in s, a multiple of the distance of frames.
        duration: from the first frame to the last.
        frames: their number.
        dt: the largest time step; 5e-4 fits peaks of 1.5 on the default mesh.
        halvings: how often a trajectory that blows up is started again with half the step.
        period: of a factor sin(2πt/period) of the inflow; by default the inflow is constant.
        refinements: how often the mesh is refined.
        modes: size of two random modes of the inflow, relative to the peak; with 0 it is a parabola.
        developed: time of a shared spin-up from rest at the middle of the peaks, whose last second, three periods and more, gives the
            initial velocities; it saves the spin-up of each sample. 0 for random vortices.
        hierarchy: also export scalar spaces for processors (:meth:`CylinderChannel.scalar_spaces`).
    """

    dirichlet = CylinderChannel.boundary

    def __init__(
        self,
        mesh: str = "cylinder_channel.msh",
        viscosity: float = 1e-3,
        peak: tuple[float, float] = (1.0, 1.5),
        spin_up: float = 4.0,
        duration: float = 1.0,
        frames: int = 51,
        dt: float = 5e-4,
        halvings: int = 3,
        period: float | None = None,
        refinements: int = 0,
        modes: float = 0.2,
        developed: float = 0.0,
        hierarchy: bool = False,
    ):
        super().__init__(
            CylinderChannel(mesh, refinements),
            viscosity=viscosity,
            peak=peak,
            spin_up=spin_up,
            duration=duration,
            frames=frames,
            dt=dt,
            halvings=halvings,
            period=period,
            modes=modes,
            developed=developed,
            hierarchy=hierarchy,
        )
