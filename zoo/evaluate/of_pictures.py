"""What ``zoo eval --samples`` does: pictures that another program drew, beside real ones."""

from __future__ import annotations

from pathlib import Path

from zoo.assembly import create_part
from zoo.data import Dataset
from zoo.distributed.distributed import Distributed
from zoo.errors import DataError, ZooError
from zoo.evaluate.beside import Beside, Evaluation, features_for
from zoo.evaluate.elsewhere import digest_at, pictures_at
from zoo.evaluate.evaluation_record import asked
from zoo.evaluate.mix import Mix
from zoo.recipe import Recipe
from zoo.runs.judged import GENERATED
from zoo.sampling.leaving_out import with_ids
from zoo.sampling.tracking import told


def evaluate_pictures(
    samples: Path, recipe: Recipe, world: Distributed, *, seed: int = 0, with_controls: bool = False
) -> Evaluation:
    """Compare all pictures that are somewhere with what a recipe has its own samples compared with.

    They are of no class: figures that ask for one are left out.

    Args:
        samples: a folder of pictures of one size, or an ``.npz`` file with ``arr_0`` [n, H, W, 1 or 3] of bytes.
        recipe: whose ``data`` the real images are of, and whose ``evaluate`` section says how to compare.
        world: this process among those of the job, which share the work.
        seed: of the choice of real images, and of controls.
        with_controls: compare noise, class means, shuffled labels and a copy of the real images as well.

    Returns:
        The same on all processes.

    Raises:
        DataError: the pictures or the real images cannot be read, or are of other sizes than features can compare.
        ZooError: there is no figure that the recipe's features allow.
    """
    recipe = with_ids(recipe, world)
    with world.together():
        features = features_for(recipe)
        dataset: Dataset = create_part(recipe, "dataset")
        beside = Beside(recipe, features, dataset, world, seed)
        found = pictures_at(samples, beside.channels)
        if found is None:
            raise DataError(f"{samples}: holds moments, and no pictures; they can be evaluate.reference")
        features.of(next(found.batches()).images[:1], None)  # which cannot be compared if they are of another size
        told(f"{recipe.name}: compares {len(found)} images of {samples} with {beside.reference.words}", world)
    real_data, digest = beside.digest(), world.first(lambda: digest_at(samples))
    beside.begin_judging()
    with world.together():
        _refuse_without_figures(beside)
    generated = beside.look_at(found, "images")
    mix = Mix("data", len(found), seed, are_classes=False)
    held_out = beside.floor(mix)

    def compare() -> Evaluation:
        judged = beside.compare(generated, held_out, mix, with_controls=with_controls, are_drawn=False)
        how = asked(recipe, features, real_data, seed, None)
        for section, key in (("evaluate", "count"), ("evaluate", "labels")):
            del how[section][key]
        del how["sample"]
        assert beside.judge is not None
        for name in beside.judge.named_with("labels"):
            judged.record["left_out"][f"{name} of {GENERATED}"] = "it asks for classes, and these pictures have none"
        return Evaluation(judged.figures, {"samples": str(samples), "samples_digest": digest, **how, **judged.record})

    return world.first(compare)


def _refuse_without_figures(beside: Beside) -> None:
    """Refuse metrics that all ask for classes; on the main process."""
    if beside.judge is not None and len(beside.judge.named_with("labels")) == len(beside.judge.metrics):
        raise ZooError(
            f"{beside.recipe.name}: evaluate.metrics: all of them ask for classes, which pictures of other programs"
            " have none of; choose others"
        )
