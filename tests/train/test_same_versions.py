"""All processes of a job train with the same packages and files of parts."""

from tests.distributed.ranks import run_ranks
from tests.train.small import VALUES
from zoo.assembly import load_recipe
from zoo.registry import Registry
from zoo.runs.made import refuse_other_versions

SOURCE = """
import zoo
from zoo.parts.blocks import DiTBlock

@zoo.part("block", "mine")
class Mine(DiTBlock): ...
"""


def meet(world, folder, others):
    path = folder / str(world.rank) / "my_parts.py"
    path.parent.mkdir()
    path.write_text(SOURCE + "# more" * (others and world.rank))
    recipe = load_recipe(VALUES, ["backbone.block=mine"], Registry(), parts=path)
    refuse_other_versions(recipe, world)
    return recipe.plugins()["my_parts.py"]


def test_equal_files_are_the_same_wherever_they_lie(tmp_path):
    one, other = run_ranks(meet, 2, tmp_path, False)
    assert one == other


def test_a_process_with_another_file_is_refused_on_all(tmp_path):
    expected = "process 1: process 0 has my_parts.py sha256:"
    for error in run_ranks(meet, 2, tmp_path, True):
        assert str(error).startswith(expected)
        assert str(error).endswith("; give all processes the same")
