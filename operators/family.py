"""One operator on all meshes of a family, trained on some and applied on others."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from ..fem.family import DiscretizationFamily, OnEachMesh, mesh_of
from .operator import Operator, Samples
from .spon import SPON, ChannelSquares, batches_for_scales


class OperatorFamily(Operator):
    """An operator whose weights belong to no mesh, applied on the mesh that the fields live on (:class:`FieldsOnMesh`).

    On each mesh it is the same operator rebuilt with what it needs of that mesh, sharing the weights (:func:`operator_on`); that is done
    when the mesh is first met. Weights, scales and file are those of the operator itself.

    Args:
        operator: on the first mesh of the family.
        family: the meshes.
        twin: from the operator and a discretization to the same operator there.
    """

    def __init__(self, operator: Operator, family: DiscretizationFamily, twin: Callable[[Operator, Any], Operator]):
        super().__init__()
        self.operator, self.family = operator, family
        self.config, self.fingerprint = operator.config, family.fingerprint
        self.twins = OnEachMesh(lambda disc: twin(self.operator, disc).to(next(self.operator.parameters()).device), family)

    def on(self, number: int) -> Operator:
        """The operator on one mesh; training one trains all."""
        twin = self.twins[number]
        return twin if twin.training == self.training else twin.train(self.training)

    def forward(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.on(mesh_of(fields))(fields)

    def set_scales(self, fields: Mapping[str, Tensor]) -> None:
        """Take the scales from sample fields on one mesh."""
        self.on(mesh_of(fields)).set_scales(fields)

    @torch.no_grad()
    def set_scales_from(self, dataset: Samples) -> None:
        """Take the scales from all samples on all meshes of a data set, each mesh with its own mass."""
        if isinstance(self.operator, SPON):
            self.operator.keep_scales(self._squares(batch) for batch in batches_for_scales(dataset))
        else:
            super().set_scales_from(dataset)

    def _squares(self, fields: Mapping[str, Tensor]) -> ChannelSquares:
        operator = self.on(mesh_of(fields))
        assert isinstance(operator, SPON)
        return operator.channel_squares(fields)

    # The weights are the operator's own, so that it can be read back on any mesh.
    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self.operator.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.operator.load_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        # Tensors that are moved are no longer those that the twins share.
        self.twins.clear()
        return super()._apply(*args, **kwargs)
