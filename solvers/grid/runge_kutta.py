"""Implicit-explicit Runge-Kutta schemes for du/dt = L u + N(u) with a diagonal L: their coefficients as data, and how they step."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]


class Scheme(Protocol):
    """What a time integration needs of a scheme."""

    @property
    def order(self) -> int: ...

    def stepper(self, L: Tensor, N: Step, dt: float) -> Step:
        """The step of length dt; L broadcasts against u, of the same dtype, with a real part that is nowhere positive."""
        ...


@dataclass(frozen=True)
class Tableau:
    """Coefficients of a scheme that treats N explicitly and L implicitly, one implicit division a stage.

    ``explicit`` and ``implicit`` are lower triangular, row i with i and i + 1 entries.
    """

    order: int
    explicit: tuple[tuple[Fraction, ...], ...]
    implicit: tuple[tuple[Fraction, ...], ...]
    explicit_weights: tuple[Fraction, ...]
    implicit_weights: tuple[Fraction, ...]

    @property
    def stages(self) -> int:
        return len(self.implicit)

    def stepper(self, L: Tensor, N: Step, dt: float) -> Step:
        """The step of length dt; L broadcasts against u, of the same dtype, with a real part that is nowhere positive."""
        diagonal = [float(row[i]) for i, row in enumerate(self.implicit)]
        inverses = {d: 1 / (1 - dt * d * L) for d in set(diagonal) if d}

        def step(u: Tensor) -> Tensor:
            nonlinear: list[Tensor] = []
            linear: list[Tensor] = []
            for i, d in enumerate(diagonal):
                Y = _combined(u, dt, self.explicit[i], nonlinear, self.implicit[i][:i], linear)
                if d:
                    Y = Y * inverses[d]
                linear.append(L * Y)
                if self._counts(i):
                    nonlinear.append(N(Y))
            return _combined(u, dt, self.explicit_weights, nonlinear, self.implicit_weights, linear)

        return step

    def _counts(self, i: int) -> bool:
        """Whether N at stage i enters any later stage or the result."""
        return bool(self.explicit_weights[i]) or any(row[i] for row in self.explicit[i + 1 :])


@dataclass(frozen=True)
class LowStorage:
    """Two registers (Williamson's form) for N, Crank-Nicolson for L over each of the substeps; of order two in L.

    h ← A_k h + N(u), then u ← u + dt B_k h + ½ dt (c_{k+1} − c_k) L (u + u_new), as in Canuto, Hussaini, Quarteroni and Zang, "Spectral
    Methods: Evolution to Complex Geometries", appendix D.3.
    """

    order: int
    A: tuple[Fraction, ...]
    B: tuple[Fraction, ...]
    c: tuple[Fraction, ...]

    def stepper(self, L: Tensor, N: Step, dt: float) -> Step:
        """The step of length dt; L broadcasts against u, of the same dtype, with a real part that is nowhere positive."""
        ends = [*self.c[1:], Fraction(1)]
        substeps = []
        for A, B, c, end in zip(self.A, self.B, self.c, ends, strict=True):
            half = dt / 2 * float(end - c) * L
            substeps.append((float(A), (1 + half) / (1 - half), dt * float(B) / (1 - half)))

        def step(u: Tensor) -> Tensor:
            h = None
            for A, kept, weight in substeps:
                h = N(u) if h is None else torch.add(N(u), h, alpha=A)
                u = torch.addcmul(kept * u, weight, h)
            return u

        return step


def _row(text: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(entry) for entry in text.split())


#: Ascher, Ruuth and Spiteri, Appl. Numer. Math. 25 (1997), scheme (4,4,3): third order, L-stable, four evaluations of N a step.
ARS443 = Tableau(
    order=3,
    explicit=tuple(map(_row, ("", "1/2", "11/18 1/18", "5/6 -5/6 1/2", "1/4 7/4 3/4 -7/4"))),
    implicit=tuple(map(_row, ("0", "0 1/2", "0 1/6 1/2", "0 -1/2 1/2 1/2", "0 3/2 -3/2 1/2 1/2"))),
    explicit_weights=_row("1/4 7/4 3/4 -7/4 0"),
    implicit_weights=_row("0 3/2 -3/2 1/2 1/2"),
)

#: Kennedy and Carpenter, Appl. Numer. Math. 44 (2003), ARK4(3)6L[2]SA: fourth order, L-stable, six evaluations of N a step.
ARK436 = Tableau(
    order=4,
    explicit=(
        (),
        _row("1/2"),
        _row("13861/62500 6889/62500"),
        _row("-116923316275/2393684061468 -2731218467317/15368042101831 9408046702089/11113171139209"),
        _row(
            "-451086348788/2902428689909 -2682348792572/7519795681897 12662868775082/11960479115383 3355817975965/11060851509271"
        ),
        _row(
            "647845179188/3216320057751 73281519250/8382639484533 552539513391/3454668386233 3354512671639/8306763924573 4040/17871"
        ),
    ),
    implicit=(
        _row("0"),
        _row("1/4 1/4"),
        _row("8611/62500 -1743/31250 1/4"),
        _row("5012029/34652500 -654441/2922500 174375/388108 1/4"),
        _row("15267082809/155376265600 -71443401/120774400 730878875/902184768 2285395/8070912 1/4"),
        _row("82889/524892 0 15625/83664 69875/102672 -2260/8211 1/4"),
    ),
    explicit_weights=_row("82889/524892 0 15625/83664 69875/102672 -2260/8211 1/4"),
    implicit_weights=_row("82889/524892 0 15625/83664 69875/102672 -2260/8211 1/4"),
)


#: Carpenter and Kennedy, NASA TM 109112 (1994), RK4(3)5[2N-2], with Crank-Nicolson: fourth order in N, second in L, five evaluations of N.
CNRK4 = LowStorage(
    order=2,
    A=_row("0 -567301805773/1357537059087 -2404267990393/2016746695238 -3550918686646/2091501179385 -1275806237668/842570457699"),
    B=_row(
        "1432997174477/9575080441755 5161836677717/13612068292357 1720146321549/2090206949498 3134564353537/4481467310338 "
        "2277821191437/14882151754819"
    ),
    c=_row("0 1432997174477/9575080441755 2526269341429/6820363962896 2006345519317/3224310063776 2802321613138/2924317926251"),
)


@lru_cache
def imaginary_limit(scheme: Scheme) -> float:
    """The largest y up to which the scheme is stable for du/dt = i y u, taken explicitly, with dt = 1."""
    y = torch.linspace(0, 8, 801, dtype=torch.complex128)
    growth = scheme.stepper(torch.zeros_like(y), lambda u: 1j * y * u, 1.0)(torch.ones_like(y)).abs()
    return float(y.real[(growth > 1 + 1e-6).nonzero()[0, 0] - 1])


def _combined(
    u: Tensor,
    dt: float,
    explicit: tuple[Fraction, ...],
    nonlinear: list[Tensor],
    implicit: tuple[Fraction, ...],
    linear: list[Tensor],
) -> Tensor:
    """u + dt Σ (a_j N_j + b_j L_j), without the terms whose coefficient is zero."""
    terms = [*zip(explicit, nonlinear, strict=False), *zip(implicit, linear, strict=True)]
    for a, term in terms:
        if a:
            u = u.add(term, alpha=dt * float(a))
    return u
