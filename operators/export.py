"""Operators as one file that torch alone can run: weights, scales, and what it needs of the discretization, without this package.

Where only torch is installed::

    description = {"thalweg.json": ""}
    operator = torch.export.load("operator.pt2", extra_files=description).module()
    u = operator({"f": f, "g": g})["u"]

``json.loads(description["thalweg.json"])`` names inputs and outputs, their shapes and spaces, and where the dofs of each space are.
"""

import copy
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..errors import FileError, InputError, MissingPackageError
from ..fem import Discretization, Space
from ..fem.portable_matrix import Primitive, portable
from ..fem.uniform_grid import Grids
from ..storage import atomic
from .operator import Operator

#: The description in an exported file.
DESCRIPTION = "thalweg.json"

_TOLERANCE = 1e-4  # relative to the largest value; single precision sums in another order


class _Applied(nn.Module):
    """An operator whose fields are plain dictionaries of what it uses."""

    def __init__(self, operator: nn.Module):
        super().__init__()
        self.operator = operator

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.operator(fields)


def export_operator(
    operator: Operator,
    fields: Mapping[str, Tensor],
    path: str | os.PathLike,
    spaces: Mapping[str, str] | None = None,
    disc: Discretization | Grids | None = None,
) -> dict[str, Any]:
    """Write an operator to a ``.pt2`` file (``torch.export``) or an ``.onnx`` file, for batches of any size.

    The written program is read back and compared with the operator on another batch size before it takes its place.

    Args:
        operator: what it does in evaluation mode is exported; on its device. It stays as it is.
        fields: example inputs ``(batch, ...)`` with at least two samples; those that the operator does not use are left out.
        path: where to, ``.pt2`` or ``.onnx``.
        spaces: the space of each field, for the description.
        disc: the discretization or grids, for the description.

    Returns:
        The description: inputs and outputs with their shapes, spaces with their points, configuration and fingerprint.

    Raises:
        InputError: the suffix is unknown, the batch is too small, or torch cannot trace the operator or run its program alone.
        MissingPackageError: for ``.onnx``, the package ``onnxscript`` is not installed.
        FileError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".pt2", ".onnx"):
        raise InputError(f"An exported operator is called something.pt2 or something.onnx, not {path.name!r}.")
    if path.suffix == ".onnx":
        _require_onnx()
    operator = copy.deepcopy(operator).eval().requires_grad_(False)
    used = _used(operator, fields)
    if min(len(values) for values in used.values()) < 2:
        raise InputError(
            "An export needs an example of at least two samples, so that the batch size is not taken for a constant."
        )
    primitive: Primitive = "embedding_bag" if path.suffix == ".pt2" else "index_add"
    applied = _Applied(portable(operator, primitive)).eval()
    with torch.no_grad():
        prediction = applied(used)
        program = _traced(applied, used)
    _require_torch_alone(program)
    description = {
        "schema_version": 1,
        "operator": operator.config,
        "fingerprint": operator.fingerprint,
        "inputs": {name: _described(name, values, spaces) for name, values in used.items()},
        "outputs": {name: _described(name, values, spaces) for name, values in prediction.items()},
        "spaces": _places({(spaces or {}).get(name, "") for name in (*used, *prediction)}, disc),
    }
    with atomic(path) as partial:
        if path.suffix == ".pt2":
            _prune(program)
            with partial.open("wb") as file:
                torch.export.save(program, file, extra_files={DESCRIPTION: json.dumps(description)})
            _check(partial, operator, used)
        else:
            names = {"input_names": list(used), "output_names": list(prediction)}
            onnx = torch.onnx.export(program, dynamo=True, verbose=False, **names)
            assert onnx is not None
            onnx.save(str(partial))
    return description


def load_exported(path: str | os.PathLike) -> tuple[nn.Module, dict[str, Any]]:
    """The program in a ``.pt2`` file, from fields to fields, and its description.

    Raises:
        FileError: the file is missing, damaged or something else.
    """
    if not zipfile.is_zipfile(path):
        raise FileError(f"{path} does not exist, or is damaged or no exported operator. Export it again, or correct the path.")
    extra = {DESCRIPTION: ""}
    try:
        with Path(path).open("rb") as file:
            program = torch.export.load(file, extra_files=extra)
        return program.module(), json.loads(extra[DESCRIPTION])
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise FileError(f"{path} cannot be read as an exported operator ({error}). Export it again.") from error


class Recorder(dict[str, Tensor]):
    """Fields that remember which of them were asked for: those that an operator reads."""

    def __init__(self, fields: Mapping[str, Tensor]):
        super().__init__(fields)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


@torch.no_grad()
def _used(operator: Operator, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The fields that the operator looks at."""
    recorder = Recorder(fields)
    operator(recorder)
    return {name: values for name, values in fields.items() if name in recorder.asked}


def _traced(applied: nn.Module, fields: dict[str, Tensor]) -> ExportedProgram:
    batch = torch.export.Dim("batch")
    shapes = ({name: {0: batch} for name in fields},)
    try:
        return torch.export.export(applied, (fields,), dynamic_shapes=shapes, strict=False)
    # Whatever an operator does that cannot be traced fails in torch with errors of many kinds.
    except Exception as error:
        raise InputError(
            f"torch.export cannot trace this operator ({type(error).__name__}: {str(error).splitlines()[0]}). Loops and branches must not "
            "depend on the values of fields, nor shapes on the batch size."
        ) from error


def _require_torch_alone(program: ExportedProgram) -> None:
    """Refuse a program that calls this package, which is not there where it will run."""
    package = __name__.partition(".")[0]
    if foreign := [node.target for node in program.graph.nodes if getattr(node.target, "namespace", "") == package]:
        raise InputError(
            f"The operator's program calls {foreign[0]}, which torch alone does not have: it keeps sparse matrices outside of its modules. "
            "Make them attributes of modules, or values of their dictionaries."
        )


def _prune(program: ExportedProgram) -> None:
    """Leave out buffers that nothing uses, such as the Gram matrices of the spaces."""
    unused = {node.name: node for node in program.graph.nodes if node.op == "placeholder" and not node.users}
    kept = []
    for spec in program.graph_signature.input_specs:
        name = getattr(spec.arg, "name", None)
        if spec.kind is torch.export.graph_signature.InputKind.BUFFER and name in unused and spec.target is not None:
            program.graph.erase_node(unused[name])
            program.constants.pop(spec.target, None)
            program.state_dict.pop(spec.target, None)
        else:
            kept.append(spec)
    program.graph_signature.input_specs[:] = kept
    program.graph_module.recompile()


@torch.no_grad()
def _check(path: Path, operator: Operator, fields: dict[str, Tensor]) -> None:
    """Refuse a file that does not give what the operator gives, for a batch of another size."""
    program, _ = load_exported(path)
    longer = {name: torch.cat([values, values[:1]]) for name, values in fields.items()}
    found, expected = program(longer), operator(longer)
    for name, values in expected.items():
        error = (found[name] - values).abs().max() / values.abs().max().clamp_min(1e-30)
        if not error <= _TOLERANCE:
            raise InputError(
                f"The exported program gives another field {name!r}: the largest difference is {error:.1%} of its size."
            )


def _described(name: str, values: Tensor, spaces: Mapping[str, str] | None) -> dict[str, Any]:
    return {
        "shape": ["batch", *values.shape[1:]],
        "dtype": str(values.dtype).removeprefix("torch."),
        "space": (spaces or {}).get(name),
    }


def _places(names: set[str], disc: Discretization | Grids | None) -> dict[str, Any]:
    """Of each space its element and where its dofs are, of each grid its points."""
    places: dict[str, Any] = {}
    if disc is None:
        return places
    for name in sorted(names - {""}):
        space = disc[name]
        if isinstance(space, Space):
            points = space.dof_points.tolist() if space.element.is_nodal else None
            places[name] = {"element": str(space.element), "dofs": space.num_dofs, "points": points}
        else:
            places[name] = asdict(space)
    return places


def _require_onnx() -> None:
    try:
        import onnxscript  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPackageError(
            "ONNX files are written through the package onnxscript, which is not installed: pip install 'thalweg[onnx]'. A .pt2 file "
            "needs nothing more."
        ) from error
