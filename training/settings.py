"""How a run is trained: everything that is a number or a switch."""

from dataclasses import asdict, dataclass
from typing import Literal

from ..errors import InputError

Precision = Literal["float32", "tf32", "bfloat16"]
Compilation = Literal["default", "reduce-overhead", "max-autotune"]

PRECISIONS = ("float32", "tf32", "bfloat16")
COMPILATIONS = ("default", "reduce-overhead", "max-autotune")


@dataclass(frozen=True)
class Settings:
    """How long, in what steps and in what precision to train.

    Args:
        epochs: passes over the training samples.
        batch_size: samples of one step of the optimiser, over all processes and parts.
        seed: of the order of samples and of the random numbers of objectives.
        gradient_clip: largest Euclidean norm of the gradient; None for no limit.
        checkpoint_every: steps between checkpoints within an epoch; one follows every epoch in any case.
        accumulate: parts in which the gradient of a batch is computed, one after the other, where it does not fit in memory at once.
        ema: decay of the exponential moving average of the weights, such as 0.999. The average is then what is validated and saved.
        patience: epochs without a better validation metric after which training ends.
        precision: of the operator; losses, norms and finite-element products are computed in float32 in any case (see
            :mod:`~thalweg.training.precision`).
        compile: the mode of ``torch.compile``; None for none. "reduce-overhead" uses CUDA graphs.

    Raises:
        InputError: a value makes no sense; the message names it.
    """

    epochs: int
    batch_size: int
    seed: int = 0
    gradient_clip: float | None = 1.0
    checkpoint_every: int | None = None
    accumulate: int = 1
    ema: float | None = None
    patience: int | None = None
    precision: Precision = "float32"
    compile: Compilation | None = None

    def __post_init__(self):
        for name in ("epochs", "batch_size", "accumulate", "checkpoint_every", "patience"):
            value = getattr(self, name)
            if not isinstance(value, int) and (value is not None or name in ("epochs", "batch_size", "accumulate")):
                raise InputError(f"{name} is a whole number, not {value!r}.")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"A seed is a whole number of 0 or more, not {self.seed!r}.")
        if self.epochs < 1 or self.batch_size < 1:
            raise InputError(f"epochs and batch_size must be at least 1, not {self.epochs} and {self.batch_size}.")
        if not 1 <= self.accumulate <= self.batch_size:
            raise InputError(f"accumulate must be between 1 and the batch size {self.batch_size}, not {self.accumulate}.")
        for name in ("checkpoint_every", "patience", "gradient_clip"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"{name} must be positive, or null for none, not {value}.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise InputError(f"ema is a decay between 0 and 1, such as 0.999, not {self.ema}.")
        if self.precision not in PRECISIONS:
            raise InputError(f"Unknown precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}.")
        if self.compile is not None and self.compile not in COMPILATIONS:
            raise InputError(f"Unknown mode of compilation {self.compile!r}; choose null or one of {', '.join(COMPILATIONS)}.")

    def numbers(self) -> dict[str, object]:
        """The settings on which the numbers of a run depend."""
        return {name: value for name, value in asdict(self).items() if name != "checkpoint_every"}
