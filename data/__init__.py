"""Data sets of fields: their file format, generation, reading, and the import of data made elsewhere."""

from .card import read_card
from .dataset import Dataset, FieldDataset
from .family import FamilyDataset, generate_family, read_family
from .formats import read_pdebench, read_well, write_well
from .generation import generate
from .normalisation import Moments, Normaliser, load_moments, moments, save_moments
from .scattered import at_nodes, read_pvd, scattered, vtu_series
from .shards import read_spaces
from .storing import FieldArrays
from .streaming import StreamedDataset, open_dataset
from .windows import TimeWindows

__all__ = [
    "Dataset",
    "FamilyDataset",
    "FieldArrays",
    "FieldDataset",
    "Moments",
    "Normaliser",
    "StreamedDataset",
    "TimeWindows",
    "at_nodes",
    "generate",
    "generate_family",
    "load_moments",
    "moments",
    "open_dataset",
    "read_card",
    "read_family",
    "read_pdebench",
    "read_pvd",
    "read_spaces",
    "read_well",
    "save_moments",
    "scattered",
    "vtu_series",
    "write_well",
]
