"""PETSc options of the direct solvers that reference solutions are made with, and of Newton's method around them."""

#: Pivots of indefinite matrices fill more than MUMPS expects: it may use three times the memory (ICNTL(14), in per cent more).
LU = {"ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps", "mat_mumps_icntl_14": 200}
#: PETSc's own, faster for the banded matrices of one dimension.
BANDED_LU = {"ksp_type": "preonly", "pc_type": "lu"}
#: For symmetric matrices, indefinite ones too.
CHOLESKY = LU | {"pc_type": "cholesky"}
NEWTON = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "bt",
    "snes_rtol": 1e-10,
    "snes_atol": 1e-11,
    "snes_stol": 0.0,
    "snes_max_it": 25,
}
