"""What training minimises: how the operator is applied to a batch, and with what the outcome is judged."""

from .mixed import Mixed
from .objective import Objective
from .pool import Pool
from .rollout import Rollout
from .trajectory import PREVIOUS, rollout

__all__ = ["PREVIOUS", "Mixed", "Objective", "Pool", "Rollout", "rollout"]
