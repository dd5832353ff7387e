"""A compiled form in HDF5: its instructions as JSON, its arrays as data sets. Nothing in it is executed but those instructions."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from .kernel import Kernel, Tabulation
from .program import Program
from .residual import Argument, Residual

#: An h5py.Group; h5py's annotations do not tell datasets from groups.
Group = Any


def write_form(group: Group, form: Residual) -> None:
    """Write a compiled form below a group, its arrays in float64 if they are held so."""
    group["form"] = json.dumps(
        {
            "arguments": [asdict(argument) for argument in form.arguments.values()],
            "test": asdict(form.test) if form.test else None,
            "kernels": [asdict(kernel) for kernel in form.kernels],
        }
    )
    arrays = group.create_group("arrays", track_order=True)
    for name in form.names:
        array = form.array(name).cpu().numpy()
        if array.dtype.kind == "i" and array.max(initial=0) <= np.iinfo(np.int32).max:
            array = array.astype(np.int32)
        options = {"compression": "gzip", "shuffle": True} if array.size > 1000 else {}
        arrays.create_dataset(name, data=array, **options)


def read_form(group: Group, dtype: torch.dtype) -> Residual:
    """The compiled form that :func:`write_form` wrote below a group."""
    parts = json.loads(group["form"].asstr()[()])
    arrays = {name: data[()] for name, data in group["arrays"].items()}
    arrays = {name: array.astype(np.int64) if array.dtype.kind == "i" else array for name, array in arrays.items()}
    arguments = [Argument(**_frozen(argument)) for argument in parts["arguments"]]
    test = Argument(**_frozen(parts["test"])) if parts["test"] else None
    return Residual(arguments, test, [_kernel(kernel) for kernel in parts["kernels"]], arrays).to(dtype)


def _kernel(parts: dict) -> Kernel:
    nested = {
        "fields": tuple(Tabulation(**_frozen(t)) for t in parts["fields"]),
        "tests": tuple(Tabulation(**_frozen(t)) for t in parts["tests"]),
        "program": Program(**_frozen(parts["program"])),
    }
    return Kernel(**_frozen({key: value for key, value in parts.items() if key not in nested}), **nested)


def _frozen(value: Any) -> Any:
    """Lists as tuples, at every depth: JSON does not tell them apart."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, dict) else value
