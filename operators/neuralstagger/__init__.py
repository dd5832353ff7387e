"""NeuralStagger (Huang et al., ICML 2023): interleaved coarse solvers, and the choice of resolutions that they give."""

from .coarse import CoarseSolver
from .courant import Courant
from .decomposition import Decomposition
from .dilated_resnet import DilatedResNet
from .ensemble import Ensemble
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
    "NeuralStagger",
    "OperatorNetwork",
    "SolenoidalVelocity",
    "SubtaskNetworks",
    "WithDerivatives",
    "WithLambVector",
    "WithTransport",
    "error_against_cost",
]
