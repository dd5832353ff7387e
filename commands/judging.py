"""The objective and the metrics of a run's configuration, on its discretization or on every mesh of its family."""

from collections.abc import Mapping
from typing import Any

from ..configuration import build
from ..data.shards import Spaces
from ..fem import DiscretizationFamily
from ..training import Metric, MetricFamily, Objective, ObjectiveFamily


def build_objective(training: Mapping[str, Any], disc: Spaces | DiscretizationFamily) -> Objective:
    """The configured objective, which applies the operator once if there is none; a partial one is given the configured loss."""
    if isinstance(disc, DiscretizationFamily):
        device = disc.device
        return ObjectiveFamily(lambda own: build_objective(training, own).to(device), disc)
    node = training.get("objective")
    if node is None:
        return Objective()
    objective = build(node, disc)
    return objective(build(training["loss"], disc)) if node.get("_partial_") else objective


def build_metrics(training: Mapping[str, Any], disc: Spaces | DiscretizationFamily) -> dict[str, Metric]:
    """The configured metrics by name; those that are null are left out."""
    nodes = {name: node for name, node in (training["metrics"] or {}).items() if node is not None}
    if isinstance(disc, DiscretizationFamily):
        device = disc.device
        return {name: MetricFamily(lambda own, node=node: build(node, own).to(device), disc) for name, node in nodes.items()}
    return build(nodes, disc)
