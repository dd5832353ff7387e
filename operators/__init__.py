"""Neural operators and the parts they are made of."""

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
from .operator import Operator
from .spon import SPON
from .structured_decoders import CurlDecoder, IntegralDecoder, PositiveDecoder

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
    "JointDecoder",
    "JointEncoder",
    "L2ProjectionEncoder",
    "MomentEncoder",
    "MultigridProcessor",
    "ObservationEncoder",
    "Operator",
    "PlainDecoder",
    "PositiveDecoder",
    "TraceEncoder",
    "TransferDecoder",
    "build_operator",
    "load_operator",
    "load_weights",
    "save_operator",
]
