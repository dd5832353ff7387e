"""NeuralStagger (Huang et al., ICML 2023): interleaved coarse solvers, and the choice of resolutions that they give."""

from .coarse import CoarseSolver
from .courant import Courant
from .decomposition import Decomposition
from .dilated_resnet import DilatedResNet
from .ensemble import Ensemble
from .exchange import Exchange
from .features import WithFeatures
from .lamb_vector import WithLambVector
from .networks import SubtaskNetworks
from .neuralstagger import NeuralStagger
from .operator_network import OperatorNetwork
from .resolutions import error_against_cost
from .solenoidal import SolenoidalVelocity
from .stream_function import WithDerivatives
from .transport import WithTransport

__all__ = [
    "CoarseSolver",
    "Courant",
    "Decomposition",
    "DilatedResNet",
    "Ensemble",
    "Exchange",
    "NeuralStagger",
    "OperatorNetwork",
    "SolenoidalVelocity",
    "SubtaskNetworks",
    "WithDerivatives",
    "WithFeatures",
    "WithLambVector",
    "WithTransport",
    "error_against_cost",
]
