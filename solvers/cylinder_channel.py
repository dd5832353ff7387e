"""The channel with a cylinder of the DFG benchmarks (Schäfer and Turek, 1996)."""

from ..fem import mesh_hierarchy, read_mesh
from .flow_channel import FlowChannel
from .obstacles import Disc
from .problem import resolve_mesh

HEIGHT = 0.41  # of the channel, in metres
DIAMETER = 0.1  # of the cylinder
CENTRE = (0.2, 0.2)


class CylinderChannel(FlowChannel):
    """Spaces in the benchmark's channel.

    Args:
        mesh: mesh file with the boundary parts inflow, outflow, walls and cylinder, or the name of one that comes with thalweg.
        refinements: how often the mesh is refined.
    """

    boundary = ("inflow", "walls", "cylinder")

    def __init__(self, mesh: str, refinements: int = 0):
        meshes = mesh_hierarchy(read_mesh(resolve_mesh(mesh)), refinements)
        super().__init__(meshes, HEIGHT, [Disc(*CENTRE, DIAMETER / 2)])
