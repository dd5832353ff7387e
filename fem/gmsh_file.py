"""gmsh's text files, formats 2.2 and 4.1, read strictly: a file that was cut off or edited wrongly is refused, not guessed at."""

import re
from pathlib import Path

import meshio
import numpy as np

from ..errors import FileError, InputError

_SECTION = re.compile(rb"\$[A-Za-z]+\s*$")  # a line that opens or closes a section
_NAME = re.compile(r'\s*(\d+)\s+(\d+)\s+"(.*)"\s*$')

#: Name and number of nodes of gmsh's elements up to the second order.
_TYPES = {
    1: ("line", 2),
    2: ("triangle", 3),
    3: ("quad", 4),
    4: ("tetra", 4),
    5: ("hexahedron", 8),
    15: ("vertex", 1),
    6: ("wedge", 6),
    7: ("pyramid", 5),
    8: ("line3", 3),
    9: ("triangle6", 6),
    10: ("quad9", 9),
    11: ("tetra10", 10),
    12: ("hexahedron27", 27),
    13: ("wedge18", 18),
    14: ("pyramid14", 14),
    16: ("quad8", 8),
    17: ("hexahedron20", 20),
}

#: Cells of one kind that the file keeps together: type, nodes ``(n, k)`` by gmsh's numbers, physical and geometrical tag.
_Block = tuple[str, np.ndarray, int, int]


def is_binary(path: Path) -> bool:
    """Whether this is a gmsh file in binary."""
    with path.open("rb") as file:
        head = file.read(200).split()
    return head[:1] == [b"$MeshFormat"] and head[2:3] == [b"1"]


def read_gmsh(path: Path, origin: str) -> meshio.Mesh:
    """The mesh of a gmsh text file, with ``gmsh:physical`` tags and their names in ``field_data``, as meshio has them.

    Raises:
        FileError: the file is truncated or damaged, or of another format.
        InputError: it has cells that cannot be used, or cells in several physical groups.
    """
    sections = _sections(path, origin)
    version = (sections["MeshFormat"] or [b""])[0].split()[:1]
    if version not in ([b"2.2"], [b"4.1"]):
        found = version[0].decode(errors="replace") if version else "unknown"
        raise FileError(f"{origin} is in gmsh's format {found}; only 2.2 and 4.1 are read. Save it with `gmsh -format msh41`.")
    try:
        names = _names(sections.get("PhysicalNames", []))
        if version == [b"2.2"]:
            numbers, points, blocks = *_nodes_22(sections["Nodes"]), _elements_22(sections["Elements"])
        else:
            groups = _entities(sections.get("Entities", []), names, origin)
            numbers, points, blocks = *_nodes_41(sections["Nodes"]), _elements_41(sections["Elements"], groups)
    except InputError:
        raise
    # Numbers that are missing or are none surface wherever arrays are made of them.
    except (ValueError, IndexError, OverflowError) as error:
        raise FileError(
            f"The mesh {origin} is damaged: its sections do not hold what they announce ({error}). Export it again."
        ) from error
    order = np.argsort(numbers)
    return meshio.Mesh(
        points,
        [(kind, _renumbered(nodes, numbers, order, origin)) for kind, nodes, _, _ in blocks],
        cell_data={
            "gmsh:physical": [np.full(len(nodes), physical) for _, nodes, physical, _ in blocks],
            "gmsh:geometrical": [np.full(len(nodes), geometrical) for _, nodes, _, geometrical in blocks],
        },
        field_data={name: np.array([tag, dim]) for (dim, tag), name in names.items()},
    )


def _sections(path: Path, origin: str) -> dict[str, list[bytes]]:
    lines = path.read_bytes().splitlines()
    marks = [i for i, line in enumerate(lines) if _SECTION.match(line)]
    if not marks or lines[marks[0]].strip() != b"$MeshFormat":
        raise FileError(
            f"{origin} is not a gmsh file: it does not start with $MeshFormat. Correct the suffix, or export it again."
        )
    sections = {}
    for start, end in zip(marks[::2], marks[1::2] + [0] * (len(marks) % 2), strict=True):
        name = lines[start].strip().decode()[1:]
        if lines[end].strip() != f"$End{name}".encode():
            raise FileError(f"The mesh {origin} is truncated: its section ${name} is not closed. Export it again.")
        sections[name] = lines[start + 1 : end]
    if missing := {"Nodes", "Elements"} - set(sections):
        raise FileError(f"The mesh {origin} is truncated: it has no ${' and no $'.join(sorted(missing))}. Export it again.")
    return sections


def _names(lines: list[bytes]) -> dict[tuple[int, int], str]:
    """Names of physical groups by dimension and tag."""
    found = [_NAME.match(line.decode(errors="replace")) for line in lines[1:]]
    if lines and len(found) != int(lines[0]):
        raise ValueError(f"{len(found)} of {int(lines[0])} physical names")
    matches = [match for match in found if match]
    if len(matches) < len(found):
        raise ValueError("a physical name without its number")
    return {(int(match[1]), int(match[2])): match[3] for match in matches}


def _table(lines: list[bytes], dtype: type) -> np.ndarray:
    """Lines of equally many numbers as a matrix."""
    if not lines:
        return np.empty((0, 1), dtype=dtype)
    return np.array(b" ".join(lines).split(), dtype=dtype).reshape(len(lines), -1)


def _nodes_22(lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    table = _table(lines[1:], np.float64)
    if len(table) != int(lines[0]) or table.shape[1] != 4:
        raise ValueError(f"{len(table)} of {int(lines[0])} nodes")
    return table[:, 0].astype(np.int64), table[:, 1:]


def _elements_22(lines: list[bytes]) -> list[_Block]:
    """Each line is: number, type, number of tags, tags (physical and geometrical first), nodes."""
    if len(lines) - 1 != int(lines[0]):
        raise ValueError(f"{len(lines) - 1} of {int(lines[0])} elements")
    width = np.array([len(line.split()) for line in lines[1:]], dtype=np.int64)
    numbers = _table([b" ".join(lines[1:])], np.int64)[0] if len(lines) > 1 else np.empty(0, dtype=np.int64)
    start = np.cumsum(width) - width
    num_tags = numbers[start + 2]
    tag = [np.where(num_tags > i, numbers[start + 2 + np.minimum(num_tags, i + 1)], 0) for i in range(2)]
    kinds, member = np.unique(np.stack([numbers[start + 1], width, num_tags, *tag]), axis=1, return_inverse=True)
    blocks = []
    for i, (kind, length, tags, physical, geometrical) in enumerate(kinds.T.tolist()):
        rows = start[member.reshape(-1) == i]
        blocks.append(_block(kind, numbers[rows[:, None] + np.arange(3 + tags, length)], physical, geometrical))
    return blocks


def _entities(lines: list[bytes], names: dict[tuple[int, int], str], origin: str) -> dict[tuple[int, int], int]:
    """The physical group of each geometrical entity that is in one, by dimension and tag."""
    if not lines:
        return {}
    counts = [int(word) for word in lines[0].split()]
    if len(lines) - 1 != sum(counts):
        raise ValueError(f"{len(lines) - 1} of {sum(counts)} entities")
    dims = np.repeat(np.arange(4), counts).tolist()
    facet_dim = max(dims) - 1
    groups = {}
    for dim, line in zip(dims, lines[1:], strict=True):
        words = line.split()
        first = 4 if dim == 0 else 7
        members = [abs(int(word)) for word in words[first + 1 : first + 1 + int(words[first])]]
        if len(members) > 1 and dim >= facet_dim:
            called = ", ".join(repr(names.get((dim, tag), str(tag))) for tag in members)
            raise InputError(
                f"{origin}: entity {int(words[0])} of dimension {dim} is in several physical groups ({called}), but a "
                "cell or facet can carry one name. Make groups that do not overlap."
            )
        groups[dim, int(words[0])] = members[0] if members else 0
    return groups


def _blocks_41(lines: list[bytes], lines_each: int) -> list[tuple[list[int], list[bytes]]]:
    """Head and body of each block of a section, whose first line announces the numbers of blocks and of entries."""
    num_blocks, num_entries = (int(word) for word in lines[0].split()[:2])
    blocks, at, entries = [], 1, 0
    for _ in range(num_blocks):
        head = [int(word) for word in lines[at].split()]
        body = lines[at + 1 : at + 1 + lines_each * head[3]]
        if len(body) != lines_each * head[3]:
            raise ValueError("a block is too short")
        blocks.append((head, body))
        at, entries = at + 1 + len(body), entries + head[3]
    if entries != num_entries or at != len(lines):
        raise ValueError(f"{entries} of {num_entries} entries in {len(lines)} lines")
    return blocks


def _nodes_41(lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Each block lists the numbers of its nodes, then their coordinates (and for some, parameters on their curve or surface)."""
    numbers, points = [np.empty(0, dtype=np.int64)], [np.empty((0, 3))]
    for head, body in _blocks_41(lines, 2):
        if head[3]:
            numbers.append(_table(body[: head[3]], np.int64)[:, 0])
            points.append(_table(body[head[3] :], np.float64)[:, :3])
    return np.concatenate(numbers), np.concatenate(points)


def _elements_41(lines: list[bytes], groups: dict[tuple[int, int], int]) -> list[_Block]:
    filled = [(head, body) for head, body in _blocks_41(lines, 1) if body]
    return [_block(kind, _table(body, np.int64)[:, 1:], groups.get((dim, tag), 0), tag) for (dim, tag, kind, _), body in filled]


def _block(kind: int, nodes: np.ndarray, physical: int, geometrical: int) -> _Block:
    if kind not in _TYPES:
        raise ValueError(f"elements of unknown type {kind}")
    name, width = _TYPES[kind]
    if nodes.shape[1] != width:
        raise ValueError(f"a {name} of {nodes.shape[1]} nodes")
    return name, nodes, physical, geometrical


def _renumbered(nodes: np.ndarray, numbers: np.ndarray, order: np.ndarray, origin: str) -> np.ndarray:
    """Rows of the points instead of gmsh's numbers."""
    place = np.searchsorted(numbers, nodes, sorter=order).clip(max=max(len(numbers) - 1, 0))
    found = order[place] if len(numbers) else np.zeros_like(nodes)
    if not len(numbers) or (numbers[found] != nodes).any():
        raise FileError(f"The mesh {origin} is damaged: a cell refers to a node that is not in the file. Export it again.")
    return found
