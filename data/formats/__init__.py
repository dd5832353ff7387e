"""Published file formats of data on uniform grids, read as :class:`~thalweg.data.FieldArrays`, and written."""

from .pdebench import read_pdebench
from .the_well import read_well, write_well

__all__ = ["read_pdebench", "read_well", "write_well"]
