"""What training minimises: how the operator is applied to a batch, and with what the outcome is judged."""

from .blocks import Blocks
from .history import HistoryRollout
from .mixed import Mixed
from .objective import Objective
from .pool import Pool
from .rollout import Rollout
from .scenes import ScenePool
from .trajectory import PREVIOUS, rollout

__all__ = ["PREVIOUS", "Blocks", "HistoryRollout", "Mixed", "Objective", "Pool", "Rollout", "ScenePool", "rollout"]
