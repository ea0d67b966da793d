"""What is saved of a run when one of its steps fails, and what is told of it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from zoo.callbacks import Step
from zoo.errors import NumericError, SampleError, reason_not_saved
from zoo.train.callbacks import VitalError
from zoo.train.non_finite import way_past
from zoo.train.saving import Saver


def watched(steps: Iterator[Step], saver: Saver) -> Iterator[Step]:
    """Pass on the steps of training; where one fails, save what was trained before it, and say where it is."""
    trainer = saver.trainer
    try:
        yield from steps
    except VitalError:  # of all processes alike, between two steps
        raise
    except NumericError as error:
        try:
            saved = keep(saver)
        except NumericError as before:  # the step that failed came of it, and so will all to come
            raise NumericError(f"{error}; {before}") from error
        raise NumericError(f"{error}; {saved}; {way_past(error, trainer.options, saver.folder)}") from error
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # of activations, where memory is what is missing
        trainer.updates.zero_grad()
        try:
            there = keep(saver)
            if not isinstance(error, SampleError):  # which says how to go on, and would come again
                there += f"; {saver.folder.go_on}"
        except NumericError as before:  # which says what to do; what failed is still raised
            there = str(before)
        saver.tell(f"step {trainer.step + 1} has failed; {there}")
        raise


def keep(saver: Saver) -> str:
    """Save what was trained before a step that has failed, and let older checkpoints be.

    What fails on all processes is saved by all. If this one has failed alone, or others have, they can take part in
    nothing; the main one saves by itself, unless it holds but a share of the weights.

    Returns:
        What there is to go on from, in words.

    Raises:
        NumericError: what was trained before it is not finite.
    """
    try:
        return _kept(saver, lonely=saver.trainer.alone and saver.world.size > 1)
    except NumericError:
        raise
    except Exception as error:  # the first failure is to be told, whatever comes of it
        return f"what was trained before it cannot be saved: {reason_not_saved(error)}"


def _kept(saver: Saver, *, lonely: bool) -> str:
    trainer, world = saver.trainer, saver.world
    in_shares = trainer.options.parallel == "fsdp"
    if not (lonely and (in_shares or not world.is_main)):  # who save nothing
        with world.busy():
            trainer.settle()
    if lonely:
        _last(saver)  # waits, under guard, for what is being written, as the one without others could not
    if (saver.lone() if lonely else saver).is_saved():
        return _last(saver)
    if not trainer.whole:
        return f"it was in the midst of its update, and nothing could be saved; {_last(saver)}"
    if lonely and in_shares:
        return f"each process holds but a share of the weights, and nothing could be saved; {_last(saver)}"
    if lonely and not world.is_main:
        return "the main process saves the weights before it"
    moved = saver.save_alone() if lonely else saver.save_apart()
    return moved or f"the weights before it are saved: {_last(saver)}"


def _last(saver: Saver) -> str:
    """What there is to go back to; the watch does not end this process while it waits for what is being written."""
    with saver.world.busy():
        return saver.last
