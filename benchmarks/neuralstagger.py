"""NeuralStagger's latency and throughput by its factors, against the undecomposed network of equal size per point and a solver.

Times are per simulated second of periodic flow, at equal simulated time. ``one coarse`` is one sub-grid of one time
sequence; its ideal speed-up over the undecomposed network (1, 1, 1) is the product of the factors. ``all, batched`` are all subtasks
in one rollout, split and merged once: the same arithmetic as the undecomposed network, so what is gained there is gained
by filling the machine. Throughputs are those of the best batch. Weights are random, so errors are none of this table's business.

    python benchmarks/neuralstagger.py --json neuralstagger.json
    python benchmarks/neuralstagger.py --dim 3 --grid 64 --frames 4 --dt 0.02 --batches 1
"""

import argparse
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import report
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thalweg.allocator import keep_freed_memory
from thalweg.operators import FNO, Decomposition, DilatedResNet, NeuralStagger, UNet, WithTransport
from thalweg.solvers.grid import PeriodicField, VorticityEquation
from thalweg.solvers.grid.potentials import velocity_of
from thalweg.solvers.grid.problems import TaylorGreen

FACTORS = {2: ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 4), (4, 4, 2), (4, 4, 4)), 3: ((1, 1, 1, 1), (2, 2, 2, 1), (2, 2, 2, 2))}

#: Those of torch that make no CUDA graphs of their own, see :func:`captured`.
COMPILATIONS = ("default", "max-autotune-no-cudagraphs")

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

RESNET = partial(DilatedResNet, width=24, blocks=1, dilations=(1, 2, 1), padding_mode="circular")
RESNET_3D = partial(DilatedResNet, dim=3, width=16, blocks=1, dilations=(1, 2, 1), padding_mode="circular")
NETWORKS = {
    "resnet": RESNET,
    "transport": partial(WithTransport, RESNET),
    "unet": partial(UNet, width=16, levels=3, padding_mode="circular"),
    "fno": partial(FNO, modes=(8, 8), width=24),
}


def captured(call: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
    """On a GPU, the call's kernels as one CUDA graph, so that none waits for Python; the result is overwritten by the next call."""
    if not example.is_cuda:
        return call
    given = example.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call(given)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call(given)

    def replay(x: Tensor) -> Tensor:
        given.copy_(x)
        graph.replay()
        return result

    return replay


class PeakMemory(TorchDispatchMode):
    """The largest sum of the tensors that are alive at once of those made within, in bytes; the same on every device."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def peak_megabytes(call: Callable[[], Any]) -> float:
    """Memory of the tensors that a call makes, at most at once."""
    with PeakMemory() as memory:
        call()
    return memory.peak / 1e6


def milliseconds(call: Callable[[], Any], arguments: argparse.Namespace) -> float:
    return report.milliseconds(call, arguments.seconds, CLOCKS[arguments.clock])


def best_throughput(
    call: Callable[[int], Callable[[], Any]], batches: list[int], simulated: float, arguments: argparse.Namespace
) -> float:
    """Simulated seconds of all samples per second, of the best batch; ``call(batch)`` prepares a call."""
    return max(batch * simulated / (1e-3 * milliseconds(call(batch), arguments)) for batch in batches)


def solver_row(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """The reference solver on the full grid with the frames' time step."""
    shape = (arguments.grid,) * arguments.dim
    interval = arguments.frames * arguments.dt
    solve: Callable[[Any], Any]
    sample: Callable[[int], Any]
    if arguments.dim == 2:
        equation = VorticityEquation(shape, viscosity=1e-3, device=device)
        field = PeriodicField(shape, alpha=3, tau=5)
        solve = partial(equation.solve, interval=interval, frames=1, dt=arguments.dt)
        sample = lambda batch: 10 * field.sample(0, range(batch), device=device)  # noqa: E731
    else:
        problem = TaylorGreen(arguments.grid, dt=arguments.dt).to(device)
        spacings, periodic = problem.grid.spacings, problem.grid.periodic
        solve = partial(problem.flow().solve, interval=interval, frames=1, dt=arguments.dt)
        sample = lambda batch: velocity_of(problem.random_inputs(0, range(batch))["a"].split(1, 1), spacings, periodic)  # noqa: E731

    def prepared(batch: int) -> Callable[[], Any]:
        return partial(solve, sample(batch))

    latency = milliseconds(prepared(1), arguments) / interval
    return {
        "factors": "solver",
        "one coarse [ms/s]": latency,
        "speed-up": None,
        "ideal": None,
        "all, batched [ms/s]": latency,
        "coarse [s/s]": None,
        "all [s/s]": best_throughput(prepared, arguments.batches, interval, arguments),
        "peak [MB]": peak_megabytes(prepared(1)),
        "weights [MB]": 0.0,
    }


def one_coarse_solver(
    operator: NeuralStagger, shape: Sequence[int], steps: int, arguments: argparse.Namespace, device: torch.device
) -> Callable[[int], Callable[[], Any]]:
    """What prepares a rollout of one sub-grid of one time sequence, for a batch."""
    solver: nn.Module = operator.coarse_solver().eval()
    layout = torch.channels_last if len(shape) == 2 else torch.contiguous_format
    for parameter in solver.parameters():
        if parameter.dim() == len(shape) + 2:
            parameter.data = parameter.data.to(memory_format=layout)
    if arguments.compile:
        solver.advance = torch.compile(solver.advance, mode=arguments.compile)
    coarse = operator.decomposition.coarse_shape(shape)
    state, inputs = operator.frames.state, operator.frames.inputs

    def one(batch: int) -> Callable[[], Any]:
        u = torch.randn(batch, sum(state.values()), *coarse, device=device).to(memory_format=layout)
        given = torch.randn(batch, sum(inputs.values()), *coarse, device=device) if inputs else None
        moves = torch.ones(*coarse, device=device) if operator.frames.held else None
        run = captured(lambda v: solver.rollout(v, steps, given, moves), u)
        return lambda: run(u)

    return one


def operator_row(
    operator: NeuralStagger, shape: Sequence[int], frames: int, dt: float, arguments: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """What rollouts over some frames cost: of one coarse solver, where there is one, and of all subtasks."""
    decomposition = operator.decomposition
    s_t, interval = decomposition.time, frames * dt
    steps = frames // s_t
    one = None if operator.exchange else one_coarse_solver(operator, shape, steps, arguments, device)
    state, inputs = operator.frames.state, operator.frames.inputs

    def rollout(batch: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        (name, channels), *further = state.items()
        u = torch.randn(batch, s_t, channels, *shape, device=device)
        others = {key: torch.randn(batch, s_t, n, *shape, device=device) for key, n in further}
        others |= {key: torch.randn(batch, n, *shape, device=device) for key, n in inputs.items()}
        return lambda v: operator.rollout({**others, name: v}, steps)[name], u

    def all_of_them(batch: int) -> Callable[[], Any]:
        call, u = rollout(batch)
        run = captured(call, u)
        return lambda: run(u)

    call, u = rollout(1)

    return {
        "factors": ", ".join(map(str, (*decomposition.space, s_t))),
        "one coarse [ms/s]": one and milliseconds(one(1), arguments) / interval,
        "speed-up": None,
        "ideal": float(decomposition.num_subtasks),
        "all, batched [ms/s]": milliseconds(all_of_them(1), arguments) / interval,
        "coarse [s/s]": one and best_throughput(one, arguments.batches, interval, arguments),
        "all [s/s]": best_throughput(all_of_them, arguments.batches, interval, arguments),
        "peak [MB]": peak_megabytes(lambda: call(u)),  # a captured graph's tensors are made once, when it is captured
        "weights [MB]": sum(p.nbytes for p in operator.parameters()) / 1e6,
    }


def untrained(factors: Sequence[int], arguments: argparse.Namespace) -> NeuralStagger:
    *space, s_t = factors
    torch.manual_seed(0)
    if arguments.dim == 3:
        return NeuralStagger(RESNET_3D, Decomposition(space, s_t), {"a": 3}).eval()
    return NeuralStagger(NETWORKS[arguments.network], Decomposition(space, s_t), {"w": 1}).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, choices=FACTORS, default=2, help="2: vorticity; 3: a vector potential")
    parser.add_argument("--grid", type=int, default=256, help="points along each axis")
    parser.add_argument("--frames", type=int, default=8, help="frames of each rollout, a multiple of all time factors")
    parser.add_argument("--dt", type=float, default=0.0025, help="time between frames")
    parser.add_argument("--network", choices=NETWORKS, default="transport", help="in two dimensions")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16], help="batches that throughput is the best of")
    parser.add_argument("--compile", choices=COMPILATIONS, help="compile the coarse solver's step")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each measurement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: this process' own time, where others share the machine"
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    arguments = parser.parse_args()
    factors = FACTORS[arguments.dim]
    if arguments.frames % max(f[-1] for f in factors) or arguments.grid % max(f[0] for f in factors):
        parser.error(f"frames and grid must be multiples of {max(factors[-1])}")
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    keep_freed_memory()
    with torch.inference_mode():
        shape = (arguments.grid,) * arguments.dim
        rows = [
            operator_row(untrained(f, arguments).to(device), shape, arguments.frames, arguments.dt, arguments, device)
            for f in factors
        ]
        rows.append(solver_row(arguments, device))
    for row in rows[:-1]:
        row["speed-up"] = rows[0]["one coarse [ms/s]"] / row["one coarse [ms/s]"]
    report.print_table(f"{arguments.grid}^{arguments.dim} points, {device}, per simulated second", rows)
    if arguments.json:
        settings = {key: value for key, value in vars(arguments).items() if key != "json"}
        report.write_json(arguments.json, "neuralstagger", settings, rows)


if __name__ == "__main__":
    main()
