"""Pictures of meshes, fields, trajectories and training runs, and files for ParaView."""

from .animation import animate
from .comparison import plot_comparison
from .curves import plot_losses
from .deformed import plot_deformed
from .fields import plot_boundary_field, plot_field
from .grid_fields import plot_grid_field
from .histories import plot_convergence, plot_over_time, plot_spectra
from .lines import plot_lines
from .mesh import plot_mesh
from .pvd import write_pvd
from .render import render_comparison, render_field
from .report import write_report
from .spectrum import energy_spectrum
from .vtu import read_vtu, read_vtu_field, write_vtu

__all__ = [
    "animate",
    "energy_spectrum",
    "plot_boundary_field",
    "plot_comparison",
    "plot_convergence",
    "plot_deformed",
    "plot_field",
    "plot_grid_field",
    "plot_lines",
    "plot_losses",
    "plot_mesh",
    "plot_over_time",
    "plot_spectra",
    "read_vtu",
    "read_vtu_field",
    "render_comparison",
    "render_field",
    "write_pvd",
    "write_report",
    "write_vtu",
]
