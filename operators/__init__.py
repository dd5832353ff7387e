"""Neural operators and the parts they are made of."""

from .decoders import Decoder, DirichletDecoder, PlainDecoder
from .encoders import Encoder, InterpolationEncoder, JointEncoder, TraceEncoder
from .multigrid import MultigridProcessor
from .spon import SPON

__all__ = [
    "SPON",
    "Decoder",
    "DirichletDecoder",
    "Encoder",
    "InterpolationEncoder",
    "JointEncoder",
    "MultigridProcessor",
    "PlainDecoder",
    "TraceEncoder",
]
