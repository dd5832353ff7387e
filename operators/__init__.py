"""Neural operators and the parts they are made of."""

from .decoders import Decoder, DirichletDecoder, PlainDecoder
from .encoders import Encoder, InterpolationEncoder, JointEncoder, TraceEncoder
from .files import build_operator, load_operator, load_weights, save_operator
from .multigrid import MultigridProcessor
from .operator import Operator
from .spon import SPON

__all__ = [
    "SPON",
    "Decoder",
    "DirichletDecoder",
    "Encoder",
    "InterpolationEncoder",
    "JointEncoder",
    "MultigridProcessor",
    "Operator",
    "PlainDecoder",
    "TraceEncoder",
    "build_operator",
    "load_operator",
    "load_weights",
    "save_operator",
]
