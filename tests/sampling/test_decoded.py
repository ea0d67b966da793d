"""Pictures that a VAE decodes, some at a time, are the same on any number of processes and after a stop."""

import pytest

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, SIZE, small, train
from zoo.data import autoencoder
from zoo.registry import Registry
from zoo.sampling.images import SampleRun, draw_samples
from zoo.sampling.sampler import Sampler

LATENT = {**SIZE["latent"], "channels": 4}
COUNT = 20  # in batches of 6, each decoded with ten others that nobody sees; the last of 2


class Stop(KeyboardInterrupt):
    """The end of the process."""


def draw(world, run, out, count=COUNT, stop_before=None, padded=True, **options):
    """Draw samples by a VAE that is as sensitive as those of tests.data.test_decoding; the bytes of its pictures."""
    from tests.data.test_decoding import Sensitive

    images = Sampler.images

    def stopping(self, backbone, labels, batch, count=None):
        if batch == stop_before:
            raise Stop
        return images(self, backbone, labels, batch, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder, "TOGETHER", {"cpu": 16})
        patch.setattr(autoencoder, "_load", lambda source: Sensitive())
        patch.setattr(Sampler, "images", stopping)
        if not padded:
            patch.setattr(autoencoder.Autoencoder, "_decode", lambda self, each, _: self._vae.decode(each).sample)
        recipe = small(
            f"backbone.latent.channels={LATENT['channels']}",
            "data.dataset={type: latents, folder: nowhere, vae: sensitive}",
            "data.normalize=none",
        )
        request = SampleRun(run, out, "ema", (), count, 0, npz=False, **options)
        draw_samples(request, recipe, Registry(), world)
    return [path.read_bytes() for path in sorted(out.glob("0*.png"))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "small", "backbone.latent.channels=4").path


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    found = draw(ALONE, run, tmp_path_factory.mktemp("whole") / "out")
    assert len(found) == COUNT
    return found


def test_any_number_of_processes_draws_the_same(run, whole, tmp_path):
    for ranks in (2, 3):
        out = tmp_path / str(ranks)
        run_ranks(draw, ranks, run, out)
        assert [path.read_bytes() for path in sorted(out.glob("0*.png"))] == whole


def test_what_is_gone_on_with_is_the_same(run, whole, tmp_path):
    with pytest.raises(Stop):
        draw(ALONE, run, tmp_path / "out", stop_before=1)
    (tmp_path / "out" / "000004.png").unlink()
    assert draw(ALONE, run, tmp_path / "out", resume=True) == whole


def test_the_number_of_images_changes_none(run, whole, tmp_path):
    assert draw(ALONE, run, tmp_path / "more", count=24)[:COUNT] == whole
    assert draw(ALONE, run, tmp_path / "fewer", count=7) == whole[:7]


def test_one_that_decodes_those_alone_that_are_left_would_be_caught(run, tmp_path):
    some = draw(ALONE, run, tmp_path / "some", padded=False)
    more = draw(ALONE, run, tmp_path / "more", count=24, padded=False)
    assert [one == other for one, other in zip(some, more, strict=False)] == [True] * 18 + [False] * 2
