"""Neural operators and the parts they are made of."""

from .decoders import ComposedDecoder, CurlDecoder, Decoder, DirichletDecoder, IntegralDecoder, PlainDecoder, PositiveDecoder
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
from .operator import Operator
from .spon import SPON

__all__ = [
    "SPON",
    "ComposedDecoder",
    "CurlDecoder",
    "Decoder",
    "DirichletDecoder",
    "Encoder",
    "GridEncoder",
    "IntegralDecoder",
    "InterpolationEncoder",
    "JointEncoder",
    "L2ProjectionEncoder",
    "MomentEncoder",
    "MultigridProcessor",
    "ObservationEncoder",
    "Operator",
    "PlainDecoder",
    "PositiveDecoder",
    "TraceEncoder",
    "build_operator",
    "load_operator",
    "load_weights",
    "save_operator",
]
