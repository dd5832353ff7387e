"""Data sets of fields: their file format, generation, reading, and the import of data made elsewhere."""

from .dataset import Dataset, FieldDataset, StreamedDataset, open_dataset
from .generation import generate
from .shards import read_spaces
from .windows import TimeWindows

__all__ = ["Dataset", "FieldDataset", "StreamedDataset", "TimeWindows", "generate", "open_dataset", "read_spaces"]
