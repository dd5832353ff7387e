"""Implicit-explicit Runge-Kutta schemes for du/dt = L u + N(u) with a diagonal L: the tableaux as data, and the one step they share."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor


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


def imex_step(u: Tensor, L: Tensor, N: Callable[[Tensor], Tensor], dt: float, scheme: Tableau) -> Tensor:
    """One step of du/dt = L u + N(u), L a diagonal that broadcasts against u with a real part that is nowhere positive."""
    nonlinear: list[Tensor] = []
    linear: list[Tensor] = []
    for i in range(scheme.stages):
        Y = _combine(u, dt, scheme.explicit[i], nonlinear, scheme.implicit[i][:i], linear)
        if scheme.implicit[i][i]:
            Y = Y / (1 - (dt * float(scheme.implicit[i][i])) * L)
        linear.append(L * Y)
        if _counts(scheme, i):
            nonlinear.append(N(Y))
    return _combine(u, dt, scheme.explicit_weights, nonlinear, scheme.implicit_weights, linear)


def _combine(
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


def _counts(scheme: Tableau, i: int) -> bool:
    """Whether N at stage i enters any later stage or the result."""
    return bool(scheme.explicit_weights[i]) or any(row[i] for row in scheme.explicit[i + 1 :])
