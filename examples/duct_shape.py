"""The shape of a duct that carries the most: shape optimisation by Firedrake's adjoint, against the known optimum.

Of all cross-sections of one area, the disc lets most fluid pass at a given pressure gradient. L-BFGS-B finds it from a lobed duct, with
the derivative of the flow rate by the mesh's coordinates. Then the duct has to be oval. Its flow rate is known in closed form for every
value of the control, and so is the best oval. Run it by ``python examples/duct_shape.py``.
"""

from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from thalweg import control
from thalweg.visualization import plot_comparison

OVAL = 0.2  # the least c₃, which makes a duct longer than high


def exact_flow_rate(c: np.ndarray) -> float:
    """∫ u for the image of the unit disc under z ↦ f(z) = s (z + Σ_k c_k z^k), with u = (φ − |f|²)/4 and φ harmonic, φ = |f|² on |z| = 1.

    With a the coefficients of f and b_m = Σ_k a_{k+m} ā_k those of φ, ∫ φ |f'|² = π Σ_jk min(j, k) a_j ā_k b_{k−j}; and with h those
    of f f', ∫ |f f'|² = π Σ_n |h_n|² / (n + 1).
    """
    a = np.concatenate([[0, 1], c[0] + 1j * c[1]])
    n = np.arange(len(a))
    a /= np.sqrt((n * np.abs(a) ** 2).sum())
    b = np.correlate(a, a, "full")[len(a) - 1 + n[None, :] - n[:, None]]
    phi = (np.minimum(n[:, None], n) * np.outer(a, a.conj()) * b).sum().real
    h = np.convolve(a, (n * a)[1:])
    return float(np.pi / 4 * (phi - (np.abs(h) ** 2 / (1 + np.arange(len(h)))).sum()))


def main(modes: int = 5, refinements: int = 3, folder: str = "outputs/examples") -> dict[str, float]:
    """Return flow rates by that of the disc, for both optima the distance from those known, and the lowest Taylor rate."""
    duct = control.DuctShape(modes, refinements)
    start = duct.uncontrolled["c"]
    disc = exact_flow_rate(np.zeros_like(start))
    free = {"low": -0.3, "high": 0.3, "scale": 0.1}
    lowest = np.full(start.shape, -0.3)
    lowest[0, 1] = OVAL  # c₃
    oval = {"initial": np.maximum(lowest, 0), "low": lowest, "high": 0.3, "scale": 0.1}

    rng = np.random.default_rng(0)
    along = {"c": 0.1 * rng.standard_normal(start.shape)}
    rates = control.taylor_test(duct.functional("firedrake"), {"c": start}, along)
    print(f"flow rate by that of the disc: {exact_flow_rate(start) / disc:.5f} at the start; Taylor rates {rates.round(2)}")

    known = {"free": np.zeros_like(start), "oval": best_oval(lowest)}
    result, panels = {"start": exact_flow_rate(start) / disc, "taylor": float(rates.min())}, {}
    for name, bounds in (("free", free), ("oval", oval)):
        found = control.minimize(duct.functional("firedrake", duct.controls({"c": bounds})), 60, tolerance=1e-5)
        rate, exact = 1 - found.value, exact_flow_rate(found.controls["c"]) / disc
        distance = float(np.abs(found.controls["c"] - known[name]).max())
        print(
            f"{name}: {rate:.5f} found in {found.iterations} iterations, {exact:.5f} by the closed form of this shape,", end=" "
        )
        print(f"{exact_flow_rate(known[name]) / disc:.5f} of the known optimum, from which c is {distance:.1e} away")
        result |= {
            name: rate,
            f"{name}, exact": exact,
            f"{name}, optimum": exact_flow_rate(known[name]) / disc,
            f"{name}, off": distance,
        }
        before, after = duct.panels(found.controls).values()
        panels |= {"lobed duct, u": before, f"best duct, {name}, u": after}
    Path(folder).mkdir(parents=True, exist_ok=True)
    plot_comparison(before[0], panels, Path(folder) / "duct_shape.png", columns=3, one_scale=True)
    return result


def best_oval(lowest: np.ndarray) -> np.ndarray:
    """The c with the largest exact flow rate within the bounds."""
    bounds = [(low, 0.3) for low in lowest.ravel()]
    found = minimize(lambda c: -exact_flow_rate(c.reshape(lowest.shape)), np.maximum(lowest, 0).ravel(), bounds=bounds, tol=1e-14)
    return found.x.reshape(lowest.shape)


if __name__ == "__main__":
    main()
