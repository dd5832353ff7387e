"""thalweg: learning solution operators of partial differential equations in their finite-element spaces.

``thalweg.fem`` exports Firedrake's spaces and forms to torch, ``thalweg.solvers`` solves the problems, ``thalweg.data`` stores what they
give, ``thalweg.operators`` learns it, ``thalweg.training`` trains and judges, ``thalweg.visualization`` draws.
"""
