"""Pictures of meshes, fields and training runs, and files for ParaView."""

from .comparison import plot_comparison
from .curves import plot_losses
from .fields import plot_boundary_field, plot_field
from .mesh import plot_mesh
from .vtu import read_vtu, read_vtu_field, write_vtu

__all__ = [
    "plot_boundary_field",
    "plot_comparison",
    "plot_field",
    "plot_losses",
    "plot_mesh",
    "read_vtu",
    "read_vtu_field",
    "write_vtu",
]
