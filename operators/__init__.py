"""Neural operators and the parts they are made of."""

from .advected_scalar import AdvectedScalar
from .baselines import FNO, DeepONet, FactorizedFNO, GridOperator, MeshGraphNet, OnGrid, Transolver, UNet
from .coarse import CoarseProcessor
from .composed_decoders import ComposedDecoder, JointDecoder
from .decoders import Decoder, DirichletDecoder, IncrementDecoder, PlainDecoder, TransferDecoder
from .departure import DepartureDecoder
from .encoders import (
    Encoder,
    GeometryEncoder,
    GridEncoder,
    InterpolationEncoder,
    JointEncoder,
    L2ProjectionEncoder,
    MomentEncoder,
    ObservationEncoder,
    TraceEncoder,
)
from .export import export_operator, load_exported
from .family import OperatorFamily
from .files import build_operator, load_operator, load_weights, operator_on, save_operator
from .flow_prediction import CorrectionDecoder, FlowPrediction, FlowPressure, PredictorCorrector, SolenoidalDecoder
from .form_encoders import FormEncoder, FunctionalEncoder
from .form_multigrid import FormMultigrid
from .message_passing import MessagePassingProcessor, PointwiseProcessor
from .mgno import DiffusionProcessor, MgNO, MgNOProcessor, PublishedMgNO
from .modal import ModalProcessor
from .multigrid import MultigridProcessor
from .neuralstagger import (
    CoarseSolver,
    Courant,
    Decomposition,
    DilatedResNet,
    NeuralStagger,
    OperatorNetwork,
    SolenoidalVelocity,
    WithDerivatives,
    WithLambVector,
    WithTransport,
)
from .newton_correction import NewtonCorrection
from .operator import Operator
from .slice_attention import SliceAttentionProcessor
from .spon import SPON
from .stream_function_decoder import StreamFunctionDecoder
from .structured_decoders import ConservationDecoder, CurlDecoder, IntegralDecoder, PositiveDecoder
from .vorticity_decoder import VorticityDecoder
from .vorticity_steps import VorticitySteps
from .weak_encoders import AverageEncoder, PotentialEncoder, StartEncoder

__all__ = [
    "FNO",
    "SPON",
    "AdvectedScalar",
    "AverageEncoder",
    "CoarseProcessor",
    "CoarseSolver",
    "ComposedDecoder",
    "ConservationDecoder",
    "CorrectionDecoder",
    "Courant",
    "CurlDecoder",
    "Decoder",
    "Decomposition",
    "DeepONet",
    "DepartureDecoder",
    "DiffusionProcessor",
    "DilatedResNet",
    "DirichletDecoder",
    "Encoder",
    "FactorizedFNO",
    "FlowPrediction",
    "FlowPressure",
    "FormEncoder",
    "FormMultigrid",
    "FunctionalEncoder",
    "GeometryEncoder",
    "GridEncoder",
    "GridOperator",
    "IncrementDecoder",
    "IntegralDecoder",
    "InterpolationEncoder",
    "JointDecoder",
    "JointEncoder",
    "L2ProjectionEncoder",
    "MeshGraphNet",
    "MessagePassingProcessor",
    "MgNO",
    "MgNOProcessor",
    "ModalProcessor",
    "MomentEncoder",
    "MultigridProcessor",
    "NeuralStagger",
    "NewtonCorrection",
    "ObservationEncoder",
    "OnGrid",
    "Operator",
    "OperatorFamily",
    "OperatorNetwork",
    "PlainDecoder",
    "PointwiseProcessor",
    "PositiveDecoder",
    "PotentialEncoder",
    "PredictorCorrector",
    "PublishedMgNO",
    "SliceAttentionProcessor",
    "SolenoidalDecoder",
    "SolenoidalVelocity",
    "StartEncoder",
    "StreamFunctionDecoder",
    "TraceEncoder",
    "TransferDecoder",
    "Transolver",
    "UNet",
    "VorticityDecoder",
    "VorticitySteps",
    "WithDerivatives",
    "WithLambVector",
    "WithTransport",
    "build_operator",
    "export_operator",
    "load_exported",
    "load_operator",
    "load_weights",
    "operator_on",
    "save_operator",
]
