"""NeuralStagger (Huang et al., ICML 2023): interleaved coarse solvers, and the choice of resolutions that they give."""

from .coarse import CoarseSolver
from .courant import Courant
from .decomposition import Decomposition
from .dilated_resnet import DilatedResNet
from .networks import SubtaskNetworks
from .neuralstagger import NeuralStagger
from .transport import WithTransport

__all__ = ["CoarseSolver", "Courant", "Decomposition", "DilatedResNet", "NeuralStagger", "SubtaskNetworks", "WithTransport"]
