"""One problem on many domains: members by (seed, number), batches of one member each."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from thalweg.data import FamilyDataset, generate_family
from thalweg.errors import FileError, InputError
from thalweg.solvers import Poisson
from thalweg.solvers.family import OnMeshes, OnPlatesWithHoles

TAGS = ("sides", "holes")


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gmsh", reason="gmsh makes the meshes", exc_type=ImportError)
    family = OnPlatesWithHoles(partial(Poisson, dirichlet=TAGS, degree=1, refinements=0), size=0.15)
    return generate_family(family, tmp_path_factory.mktemp("plates"), 3, 4, seed=1, preview=False)


def test_members_have_meshes_of_their_own_and_the_same_fields(plates: Path):
    data = FamilyDataset(plates)
    assert len(data) == 12
    assert data.numbers == (0, 1, 2)
    assert len({member.discretization.fingerprint for member in data.members}) == 3
    for member in data.members:
        V = member.discretization["V"]
        assert set(TAGS) <= set(V.tags)
        holes = V.boundary_dofs("holes")
        assert torch.equal(member.fields["u"][:, holes], member.fields["g"][:, holes])
    assert not torch.equal(data.members[0].fields["f"][0, :50], data.members[1].fields["f"][0, :50])


def test_batches_come_from_one_member_and_cover_all(plates: Path):
    data = FamilyDataset(plates, members=[2, 0])
    orders = data.orders(3, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(orders).tolist()) == list(range(8))
    assert sorted(map(len, orders)) == [1, 1, 3, 3]
    for member, fields in data.batches(orders):
        assert fields["u"].shape[1] == member.discretization["V"].num_dofs
    with pytest.raises(InputError, match="must come from one domain"):
        data.batch([3, 4])
    with pytest.raises(FileError, match="no data on domain"):
        FamilyDataset(plates, members=[5])


def test_a_domain_depends_on_seed_and_number_alone():
    family = OnPlatesWithHoles(lambda mesh: mesh)
    drawn = []
    for seed, k in ((0, 0), (0, 0), (0, 1), (1, 0)):
        drawn.append(family.random_discs(np.random.default_rng(np.random.SeedSequence((seed, k)))).tolist())
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0] != drawn[3]


def test_mesh_files_are_a_family(tmp_path: Path):
    family = OnMeshes(partial(Poisson, dirichlet=["left"], degree=1, refinements=0), ["plate_with_hole.msh"])
    generate_family(family, tmp_path, 1, 2, preview=False)
    assert len(FamilyDataset(tmp_path)) == 2
    with pytest.raises(InputError, match="There is no mesh 1"):
        family.member(0, 1)
