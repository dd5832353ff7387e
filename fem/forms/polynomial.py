"""Polynomials in the fields, with coefficients that depend on the geometry alone: how an integrand is held while it is compiled.

Everything that depends on the mesh alone is multiplied out at compile time; what is left is the work that depends on the sample.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

#: A coefficient: a number, or an array ``(points or 1, entities or 1)``.
Coefficient = float | np.ndarray

#: A product of atoms, sorted; the empty product is one.
Monomial = tuple[int, ...]

_ROUNDING = 1e-14  # relative spread below which geometry counts as constant


class Polynomial(dict[Monomial, Coefficient]):
    """``{monomial: coefficient}``; the empty one is zero."""

    @property
    def is_constant(self) -> bool:
        """Whether no field occurs in it."""
        return not self or set(self) == {()}

    @property
    def is_pure(self) -> bool:
        """Whether no geometry occurs in it."""
        return all(isinstance(c, float) for c in self.values())

    @property
    def constant(self) -> Coefficient:
        return self.get((), 0.0)


def coefficient(array: np.ndarray) -> Coefficient:
    """An array ``(points, entities)`` with the axes removed along which it is constant up to rounding."""
    first = array[:1, :1]
    spread = _ROUNDING * float(np.abs(array).max(initial=0.0))
    if not np.isfinite(spread):
        return array
    if np.abs(array - first).max(initial=0.0) <= spread:
        return float(first[0, 0])
    if array.shape[0] > 1 and np.abs(array - array[:1]).max() <= spread:
        return array[:1].copy()
    return array


class Algebra:
    """Sums, products and functions of polynomials; equal expressions become one atom.

    ``expand`` says whether products of sums with geometric coefficients are multiplied out: that contracts the geometry of test and
    trial functions, ``Kᵀ(K ∇u)`` to ``(KᵀK)∇u``, but costs more where an expression is a long polynomial in the fields.
    """

    def __init__(self, expand: bool):
        self.expand = expand
        self.atoms: list[tuple] = []
        self._numbers: dict[tuple, int] = {}
        self._arrays: dict[bytes, int] = {}

    def atom(self, *key: Any) -> Polynomial:
        """The atom that a key describes, as a polynomial. Arguments that are polynomials are compared by value."""
        identity = tuple(self._key(part) if isinstance(part, Polynomial) else part for part in key)
        if identity not in self._numbers:
            self._numbers[identity] = len(self.atoms)
            self.atoms.append(key)
        return Polynomial({(self._numbers[identity],): 1.0})

    def sealed(self, p: Polynomial) -> Polynomial:
        """The polynomial as one atom, evaluated once wherever it occurs."""
        if len(p) <= 1 or p.is_constant:
            return p
        return self.atom("sum", p)

    def add(self, terms: Iterable[Polynomial]) -> Polynomial:
        total = Polynomial()
        for p in terms:
            for monomial, c in p.items():
                total[monomial] = total[monomial] + c if monomial in total else c
        return _without_zeros(total)

    def multiply(self, p: Polynomial, q: Polynomial) -> Polynomial:
        if len(p) > 1 and len(q) > 1:
            if p.is_pure:
                p = self.sealed(p)
            elif q.is_pure:
                q = self.sealed(q)
            elif not self.expand or len(p) * len(q) > 16:
                p, q = self.sealed(p), self.sealed(q)
        product = Polynomial()
        for m, c in p.items():
            for n, d in q.items():
                monomial = tuple(sorted(m + n))
                product[monomial] = product[monomial] + c * d if monomial in product else c * d
        return _without_zeros(product)

    def divide(self, p: Polynomial, q: Polynomial) -> Polynomial:
        if q.is_constant:
            reciprocal = Polynomial({(): 1.0 / q.constant})
        elif len(q) == 1:
            ((monomial, c),) = q.items()
            reciprocal = self.multiply(self.atom("call", "reciprocal", Polynomial({monomial: 1.0})), Polynomial({(): 1.0 / c}))
        else:
            reciprocal = self.atom("call", "reciprocal", q)
        return self.multiply(p, reciprocal)

    def power(self, base: Polynomial, exponent: Polynomial) -> Polynomial:
        if not exponent.is_constant or not isinstance(exponent.constant, float):
            return self.atom("call", "pow", base, exponent)
        e = exponent.constant
        if e.is_integer() and 0 <= e <= 4:
            factor = self.sealed(base)
            result = Polynomial({(): 1.0})
            for _ in range(int(e)):
                result = self.multiply(result, factor)
            return result
        names = {0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}
        return self.atom("call", names[e], base) if e in names else self.atom("power", base, e)

    def _key(self, p: Polynomial) -> tuple:
        return tuple(sorted((monomial, self._coefficient_key(c)) for monomial, c in p.items()))

    def _coefficient_key(self, c: Coefficient) -> tuple:
        if isinstance(c, np.ndarray):
            return (c.shape, self._arrays.setdefault(c.tobytes(), len(self._arrays)))
        return ((), c)


def _without_zeros(p: Polynomial) -> Polynomial:
    for monomial in [m for m, c in p.items() if not np.any(c)]:
        del p[monomial]
    return p
