"""Weights that one process reads for all: the others have the same, and never open the file."""

import shutil

import pytest
import torch

import zoo
from tests.distributed.ranks import run_ranks
from tests.sampling.test_images import draw
from tests.sampling.test_second import guided_by
from tests.train.small import ALONE, small
from zoo.errors import RunError, WeightsError
from zoo.registry import Registry
from zoo.runs.shared_weights import filled_by_one, read_by_one
from zoo.runs.weights import WeightsSource, find_weights, open_weights
from zoo.sampling.images import SampleRun, draw_samples
from zoo.testing.cases import randomise
from zoo.weights import filled, write_weights

CPU = torch.device("cpu")


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def file(trained, registry, tmp_path):
    """Of bfloat16."""
    weights = open_weights(trained, registry)
    tensors = {name: each.bfloat16() for name, each in weights.tensors.items()}
    write_weights(tmp_path / "w.safetensors", tensors, weights.recipe, classes=weights.classes)
    return tmp_path / "w.safetensors"


def read(world, path):
    """What a process has of weights that are gone as soon as the main one has read them."""
    original = WeightsSource.read

    def once(self, registry, **options):
        assert world.is_main, "another process reads"
        found = original(self, registry, **options)
        path.rename(path.with_name("elsewhere"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightsSource, "read", once)
        weights = read_by_one(world.first(lambda: find_weights(path)), Registry(), world)
    backbone = filled_by_one(weights, world)
    told = weights.source, weights.classes, weights.versions, weights.data, weights.recipe.resolved()
    return told, backbone.state_dict(), dict(backbone.named_buffers()), backbone.training


@pytest.mark.parametrize("source", ["run", "file"])
def test_other_processes_have_them_and_open_no_file(request, source, registry):
    path = request.getfixturevalue(source)
    weights = open_weights(path, registry)
    wanted = filled(weights, CPU)
    told = weights.source, weights.classes, weights.versions, weights.data, weights.recipe.resolved()
    state, buffers = wanted.state_dict(), dict(wanted.named_buffers())
    for ranks in (1, 3):
        found = run_ranks(read, ranks, path)
        path.with_name("elsewhere").rename(path)
        for own_told, own_state, own_buffers, training in found:
            assert own_told == told
            assert not training
            for own, other in ((own_state, state), (own_buffers, buffers)):
                assert own.keys() == other.keys()
                assert {name: each.dtype for name, each in own.items()} == {k: v.dtype for k, v in other.items()}
                assert all(torch.equal(each, other[name]) for name, each in own.items())


def test_what_the_main_process_cannot_read_is_told_by_all(run, file):
    for path in (run, file):
        found = find_weights(path)
        damaged = next(path.rglob("step_00000003/ema.safetensors")) if path.is_dir() else path
        damaged.write_bytes(damaged.read_bytes()[:-100])

        def work(world, found=found):
            return read_by_one(found, Registry(), world)

        one, other = run_ranks(work, 2)
        assert isinstance(one, WeightsError | RunError)
        assert (type(one), str(one)) == (type(other), str(other))


def test_two_processes_draw_what_one_does_by_other_weights_too(run, tmp_path, registry):
    backbone = zoo.build(small(registry=registry))
    randomise(backbone, 0, std=0.2)
    zoo.save(backbone, tmp_path / "worse.safetensors")
    by = guided_by(tmp_path / "worse.safetensors")
    alone = draw(run, tmp_path / "alone", registry, by)

    def work(world):
        request = SampleRun(run, tmp_path / "two", "ema", (), len(alone), 0, npz=False)
        return draw_samples(request, small(by, registry=Registry()), Registry(), world)

    assert run_ranks(work, 2) == [len(alone)] * 2
    for path in (tmp_path / "alone").glob("0*.png"):
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()


def test_values_of_all_types_are_shared():
    def work(world):
        kinds = (torch.float32, torch.bfloat16, torch.float64, torch.complex64, torch.int64, torch.uint8, torch.bool)
        tensors = [torch.full((2, 3), 1 - world.rank).to(kind) for kind in kinds]
        tensors += [torch.tensor(5.0 - world.rank), torch.empty(0)]
        world.share(tensors)
        return all(bool((each == 1).all()) for each in tensors[:-2]) and tensors[-2].item() == 5.0

    assert run_ranks(work, 3) == [True] * 3
    ALONE.share([torch.zeros(2)])
