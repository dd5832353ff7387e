"""Forward and backward of MgNO on grids: as its authors wrote it, the same function here, and the multigrid version.

The first is a plain transcription of the published network for rough Darcy flow: every convolution dense and on its own. "multigrid" has as
many channels, a third of them iterates, and the sample's own operator on every level; "closure" corrects its coefficient, too. The bound is
the time to read and write each layer's features once on every level, forward and twice backward, at the bandwidth that a triad reaches.

    python benchmarks/mgno.py --json mgno.json
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import report
import torch
from torch import Tensor, nn

from thalweg.allocator import keep_freed_memory
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno import MgNO, PublishedMgNO, published_cases
from thalweg.operators.mgno.cases import DARCY

LEVELS = 6
TRIAD = 20_000_000  # entries of each of its three arrays, far more than caches hold
IO = {"inputs": {"a": 1}, "outputs": {"u": 1}}


class AuthorsCycle(nn.Module):
    """u ← u + S(f − Au) on six levels, one step each, two on the coarsest."""

    def __init__(self, f_channels: int, u_channels: int):
        super().__init__()

        def conv(c: int, d: int, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(c, d, 3, stride, 1, bias=False)

        self.first = conv(f_channels, u_channels)
        steps = [1] * (LEVELS - 2) + [2]
        self.A = nn.ModuleList(nn.ModuleList(conv(u_channels, f_channels) for _ in range(n)) for n in steps)
        self.S = nn.ModuleList(nn.ModuleList(conv(f_channels, u_channels) for _ in range(n)) for n in steps)
        self.Pi = nn.ModuleList(conv(u_channels, u_channels, 2) for _ in steps)
        self.R = nn.ModuleList(conv(f_channels, f_channels, 2) for _ in steps)
        self.P = nn.ModuleList(nn.ConvTranspose2d(u_channels, u_channels, 4, 2, 1, bias=False) for _ in steps)

    def forward(self, f: Tensor) -> Tensor:
        u = self.first(f)
        us = [u]
        for l in range(LEVELS - 1):
            f, u = self.R[l](f), self.Pi[l](u)
            for A, S in zip(self.A[l], self.S[l], strict=True):
                u = u + S(f - A(u))
            us.append(u)
        for l in range(LEVELS - 2, -1, -1):
            us[l] = us[l] + self.P[l](us[l + 1])
        return us[0]


class AuthorsMgNO(nn.Module):
    def __init__(self, channels: int, layers: int):
        super().__init__()
        widths = [1] + [channels] * (layers - 1)
        self.cycles = nn.ModuleList(AuthorsCycle(c, channels) for c in widths)
        self.skips = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in widths)
        self.head = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        u = fields["a"]
        for cycle, skip in zip(self.cycles, self.skips, strict=True):
            u = nn.functional.gelu(cycle(u) + skip(u))
        return {"u": self.head(u)}


def operators(points: int, channels: int, layers: int) -> dict[str, Callable[[], nn.Module]]:
    grid = Grid((points, points))
    published = published_cases.DARCY_ROUGH | {"channels": channels, "layers": layers}
    sides = ["x0", "x1", "y0", "y1"]
    architecture = replace(DARCY, iterates=channels // 3, features=channels - channels // 3, layers=layers)

    def multigrid(closure: int) -> nn.Module:
        return MgNO(grid, **IO, architecture=replace(architecture, closure=closure), dirichlet=sides, coefficient="a")

    return {
        "as its authors wrote it": lambda: AuthorsMgNO(channels, layers),
        "published": lambda: PublishedMgNO(grid, **IO, **published),
        "multigrid": lambda: multigrid(0),
        "multigrid, closure": lambda: multigrid(architecture.closure),
    }


def kept_for_backward(operator: nn.Module, fields: dict[str, Tensor]) -> float:
    """MiB of the tensors that a forward pass keeps for the backward one, weights and matrices included, each storage once."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        u = operator(fields)["u"]
    del u
    return sum(storages.values()) / 2**20


def bandwidth(seconds: float, device: torch.device) -> float:
    """Bytes per second of ``c = a + s b``, reading two arrays and writing one."""
    a, b, c = (torch.rand(TRIAD, device=device) for _ in range(3))
    return 3 * a.nbytes / (1e-3 * report.milliseconds(lambda: torch.add(a, b, alpha=2.0, out=c), seconds))


def measure(points: int, options: argparse.Namespace, bytes_per_second: float, device: torch.device) -> Iterator[dict[str, Any]]:
    torch.manual_seed(0)
    fields = {"a": 1 + torch.rand(options.batch, 1, points, points, device=device)}
    # Reading and writing the features of each layer, forward and twice as often backward, on levels that add up to 4/3 of the finest.
    moved = 3 * 2 * 4 / 3 * 4 * options.channels * options.layers * points**2
    bound = 1e3 * moved / bytes_per_second
    reference = None
    for name, make in operators(points, options.channels, options.layers).items():
        operator = make().to(device)
        run = torch.compile(operator) if options.compile else operator

        def step(operator: nn.Module = operator, run: Any = run) -> None:
            operator.zero_grad(set_to_none=True)
            run(fields)["u"].square().mean().backward()

        each = report.milliseconds(step, options.seconds) / options.batch
        reference = reference or each
        yield {
            "points": points,
            "operator": name,
            "weights": sum(parameter.numel() for parameter in operator.parameters()),
            "per sample [ms]": each,
            "/ authors": each / reference,
            "kept per sample [MiB]": kept_for_backward(operator, fields) / options.batch,
            "bound [ms]": bound,
            "bound / time": bound / each,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[64, 128, 256], help="along each axis")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=24, help="of the multigrid version a third are iterates")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each measurement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = bandwidth(options.seconds, device)
    rows = [row for points in options.points for row in measure(points, options, found, device)]
    report.print_table(f"float32, forward and backward; the triad moves {found / 1e9:.1f} GB/s", rows)
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key != "json"} | {"triad [GB/s]": found / 1e9}
        report.write_json(options.json, "mgno", settings, rows)


if __name__ == "__main__":
    main()
