"""The stream of samples: a function of seed and step, whatever the number of ranks, pieces and data workers."""

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
import torch

from tests.data.levels import Turns
from zoo.data.base import Samples, Source
from zoo.data.normalize import NoNormalize, Scale
from zoo.data.stream import Batch, Order, Reader, Share, stream
from zoo.errors import DataError

SHAPE = (2, 3, 5)
LENGTH = 22  # no multiple of the batch: batches lie across epochs


class Tiny(Source):
    """Latents that say which sample they are, plus what their own generator draws."""

    def __init__(self, length=LENGTH, *, bad=None, label=None, fault=None):
        self.length, self.bad, self.label, self.fault = length, bad or {}, label or {}, fault

    def __len__(self):
        return self.length

    def read(self, indices, random):
        if self.fault is not None and 7 in indices:
            self.fault()
        drawn = np.stack([generator.random(SHAPE, dtype=np.float32) for generator in random])
        latents = torch.from_numpy(drawn) + torch.as_tensor(indices, dtype=torch.float32)[:, None, None, None]
        labels = torch.as_tensor(indices) % 4
        for row, index in enumerate(indices.tolist()):
            if index in self.bad:
                latents[row, 1, 2, 3] = self.bad[index]
            labels[row] = self.label.get(index, labels[row])
        return Samples(latents, labels)

    def id(self, index):
        return f"tiny {index}"


def reader(source=None, *, seed=3, batch=12, share=Share(), **options):  # noqa: B008 - frozen
    source, levels = source or Tiny(), Turns(options.pop("stages", 1))
    return Reader(source, Scale(factor=2.0), Order(len(source), batch, seed), share, levels, num_classes=4, **options)


def joined(pieces):
    names = [field.name for field in fields(Batch) if isinstance(getattr(pieces[0], field.name), torch.Tensor)]
    counts = tuple(map(sum, zip(*(piece.counts for piece in pieces), strict=True)))
    return Batch(**{name: torch.cat([getattr(piece, name) for piece in pieces]) for name in names}, counts=counts)


def assert_same(one, other):
    for field in fields(Batch):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if not isinstance(a, torch.Tensor):  # without a router there are no scores
            assert a == b
            continue
        assert a.dtype == b.dtype, field.name
        assert torch.equal(a, b), f"{field.name} differs"


def read_steps(first, last, **options):
    workers = options.pop("workers", 0)
    return [joined(pieces) for pieces in stream(reader(**options), first, last, workers=workers)]


def test_every_epoch_is_a_permutation_and_batches_lie_across_epochs():
    order = Order(LENGTH, 12, 5)
    row = np.concatenate([order.indices(step, range(12)) for step in range(LENGTH)])  # 12 epochs
    epochs = row.reshape(12, LENGTH)
    assert (np.sort(epochs, axis=1) == np.arange(LENGTH)).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 12
    assert row.dtype == np.int64


def test_the_order_of_one_step_needs_no_other_step():
    order = Order(LENGTH, 12, 5)
    row = np.concatenate([order.indices(step, range(12)) for step in range(30)])
    for step in (29, 0, 17, 2, 17):  # in any order, and with caches of other epochs
        for places in (range(12), range(5, 7), range(11, 12)):
            start = step * 12
            assert order.indices(step, places).tolist() == row[start + places.start : start + places.stop].tolist()
    assert order.indices(3, range(12)).tolist() != Order(LENGTH, 12, 6).indices(3, range(12)).tolist()


def test_a_batch_may_span_several_epochs():
    found = Order(3, 12, 0).indices(1, range(12)).reshape(4, 3)
    assert (np.sort(found, axis=1) == np.arange(3)).all()


@pytest.mark.parametrize(("ranks", "pieces"), [(1, 2), (1, 12), (2, 1), (2, 3), (3, 2), (4, 3), (12, 1)])
def test_ranks_and_pieces_together_are_the_batch_of_one_process(ranks, pieces):
    for step, whole in enumerate(read_steps(0, 4, label_dropout=0.5)):
        parts = [
            reader(share=Share(rank, ranks, pieces), label_dropout=0.5)[step, piece]
            for rank in range(ranks)
            for piece in range(pieces)
        ]
        assert whole.places.tolist() == list(range(12))
        assert {len(part.places) for part in parts} == {12 // ranks // pieces}
        assert_same(joined(parts), whole)


@pytest.mark.parametrize("stages", [2, 3, 20])
def test_samples_come_stage_by_stage_and_are_else_the_same(stages):
    """Each place has what is drawn for it, wherever its stage puts it; a stage may have none of a piece."""
    share = Share(1, 2, 1)
    plain, own = (reader(share=share, stages=each, label_dropout=0.5)[3, 0] for each in (1, stages))
    assert own.counts == tuple(sum(place % stages == stage for place in range(6, 12)) for stage in range(stages))
    assert (own.places % stages).tolist() == sorted((own.places % stages).tolist())
    order = torch.argsort(own.places)
    values = {each.name: getattr(own, each.name) for each in fields(Batch)}
    sorted_ = {name: each[order] for name, each in values.items() if isinstance(each, torch.Tensor)}
    assert_same(Batch(**{**values, **sorted_, "counts": plain.counts}), plain)


def test_the_comparison_sees_a_share_that_draws_by_rank():
    """What the law above must catch: noise from a generator of the rank, not of the sample's place."""
    own = reader(share=Share(1, 2, 1))[0, 0]
    wrong = Batch(**{**vars(own), "noise": reader(share=Share(0, 2, 1))[0, 0].noise})
    with pytest.raises(AssertionError, match="noise differs"):
        assert_same(joined([reader(share=Share(0, 2, 1))[0, 0], wrong]), read_steps(0, 1)[0])


def test_workers_change_nothing():
    steps = read_steps(1, 6, share=Share(1, 2, 3))
    for workers in (1, 2):
        read = read_steps(1, 6, share=Share(1, 2, 3), workers=workers)
        assert len(read) == len(steps) == 5
        for one, other in zip(read, steps, strict=True):
            assert_same(one, other)


def test_starting_at_a_step_is_skipping_to_it():
    steps = read_steps(0, 6)
    for first in (1, 5):
        for one, other in zip(read_steps(first, 6), steps[first:], strict=True):
            assert_same(one, other)
    assert read_steps(6, 6) == []
    assert read_steps(6, 6, workers=1) == []


def test_reading_leaves_the_global_random_states_alone():
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    read_steps(0, 2)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()


def test_what_is_in_a_batch_belongs_together():
    source = Tiny()
    for batch in read_steps(0, 4, source=source):
        assert torch.equal((batch.latents / 2).floor()[:, 0, 0, 0].long(), batch.indices)
        assert torch.equal(batch.labels, batch.indices % 4)


def test_what_a_sample_draws_of_its_own_is_drawn_anew_every_time():
    batches = read_steps(0, 40)
    drawn = torch.cat([(batch.latents / 2).frac()[:, 0, 0, 0] for batch in batches])
    assert len(set(drawn.tolist())) > 0.99 * len(drawn)  # also at the same place of other steps


def test_noise_and_noise_levels_are_what_they_should_be():
    whole = joined(read_steps(0, 40, batch=64))
    count = len(whole.t)
    assert whole.noise.shape == (count, *SHAPE)
    assert (whole.noise.dtype, whole.t.dtype, whole.drop.dtype) == (torch.float32, torch.float64, torch.bool)
    flat = whole.noise.double().flatten()
    error = len(flat) ** -0.5
    assert abs(flat.mean()) < 4 * error
    assert abs(flat.square().mean() - 1) < 4 * error * 2**0.5
    assert abs(flat.pow(4).mean() - 3) < 4 * error * 96**0.5
    assert whole.t.min() >= 0
    assert whole.t.max() < 1
    shares = torch.histc(whole.t, 8, 0, 1) / count
    assert (shares - 1 / 8).abs().max() < 4 * (7 / 64 / count) ** 0.5
    correlation = torch.corrcoef(
        torch.stack([whole.t, whole.noise[:, 0, 0, 0].double(), whole.noise[:, 1, 2, 4].double()])
    )
    assert (correlation - torch.eye(3)).abs().max() < 4 * count**-0.5
    assert len(set(whole.t.tolist())) == count  # no place is drawn like another


def test_which_labels_are_dropped_has_nothing_to_do_with_the_noise():
    whole = joined(read_steps(0, 40, batch=64, label_dropout=0.5))
    for values, variance in ((whole.t - 0.5, 1 / 12), (whole.noise[:, 0, 0, 0].double(), 1.0)):
        dropped = values[whole.drop]
        assert abs(dropped.mean()) < 4 * (variance / len(dropped)) ** 0.5


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_labels_are_dropped_as_often_as_asked(share):
    drop = joined(read_steps(0, 40, batch=64, label_dropout=share)).drop
    assert abs(drop.double().mean() - share) <= 4 * (share * (1 - share) / len(drop)) ** 0.5


def test_dropping_more_labels_drops_the_same_ones_too_and_moves_nothing_else():
    some, more = (joined(read_steps(0, 20, label_dropout=share)) for share in (0.2, 0.6))
    assert (more.drop | ~some.drop).all()
    assert_same(Batch(**{**vars(some), "drop": more.drop}), more)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_not_finite_is_named(value, workers):
    with pytest.raises(DataError) as caught:
        read_steps(0, 3, source=Tiny(bad={9: value}), workers=workers)
    assert str(caught.value) == (
        "tiny 9: holds NaN or infinite values; leave it out: --set 'data.leave_out=[\"tiny 9\"]'"
    )


@pytest.mark.parametrize(("label", "workers"), [(4, 0), (-1, 0), (1000, 1)])
def test_a_label_that_is_no_class_is_named(label, workers):
    with pytest.raises(DataError) as caught:
        read_steps(0, 3, source=Tiny(label={9: label}), workers=workers)
    told = f"tiny 9: label {label} is outside 0..3; mend it, or set backbone.num_classes"
    assert str(caught.value) == told


def test_without_classes_any_label_will_do():
    source = Tiny(label={9: 1000})
    whole = Reader(source, NoNormalize(), Order(LENGTH, LENGTH, 0), Share(), Turns())[0, 0]
    assert Counter(whole.labels.tolist())[1000] == 1


def test_steps_before_the_broken_sample_are_read():
    order = Order(LENGTH, 6, 3)
    bad = int(order.indices(2, range(1))[0])
    steps = stream(reader(Tiny(bad={bad: float("nan")}), batch=6), 0, 5, workers=1)
    assert [len(next(steps)), len(next(steps))] == [1, 1]
    with pytest.raises(DataError, match=f"tiny {bad}: "):
        next(steps)
