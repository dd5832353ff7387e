"""Neural operators and the parts they are made of."""

from .baselines import FNO, DeepONet, FactorizedFNO, GridOperator, MeshGraphNet, OnGrid, Transolver, UNet
from .composed_decoders import ComposedDecoder, JointDecoder
from .decoders import Decoder, DirichletDecoder, PlainDecoder, TransferDecoder
from .encoders import (
    Encoder,
    GridEncoder,
    InterpolationEncoder,
    JointEncoder,
    L2ProjectionEncoder,
    MomentEncoder,
    ObservationEncoder,
    TraceEncoder,
)
from .files import build_operator, load_operator, load_weights, save_operator
from .multigrid import MultigridProcessor
from .neuralstagger import CoarseSolver, Courant, Decomposition, NeuralStagger
from .operator import Operator
from .spon import SPON
from .structured_decoders import CurlDecoder, IntegralDecoder, PositiveDecoder

__all__ = [
    "FNO",
    "SPON",
    "CoarseSolver",
    "ComposedDecoder",
    "Courant",
    "CurlDecoder",
    "Decoder",
    "Decomposition",
    "DeepONet",
    "DirichletDecoder",
    "Encoder",
    "FactorizedFNO",
    "GridEncoder",
    "GridOperator",
    "IntegralDecoder",
    "InterpolationEncoder",
    "JointDecoder",
    "JointEncoder",
    "L2ProjectionEncoder",
    "MeshGraphNet",
    "MomentEncoder",
    "MultigridProcessor",
    "NeuralStagger",
    "ObservationEncoder",
    "OnGrid",
    "Operator",
    "PlainDecoder",
    "PositiveDecoder",
    "TraceEncoder",
    "TransferDecoder",
    "Transolver",
    "UNet",
    "build_operator",
    "load_operator",
    "load_weights",
    "save_operator",
]
