"""Data sets of finite-element fields: their file format, generation and reading."""

from .dataset import FieldDataset
from .generation import generate

__all__ = ["FieldDataset", "generate"]
