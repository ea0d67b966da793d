import pytest

from zoo.errors import PluginError
from zoo.scaffold import Names


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (("zoo-mine",), ("zoo-mine", "zoo_mine", "mine", "Mine")),
        (("diffusion-zoo-mine",), ("diffusion-zoo-mine", "diffusion_zoo_mine", "mine", "Mine")),
        (("Lab.Parts_2",), ("Lab.Parts_2", "lab_parts_2", "lab_parts_2", "LabParts2")),
        (("zoo-mine", "qk_norm"), ("zoo-mine", "zoo_mine", "qk_norm", "QkNorm")),
    ],
)
def test_names_follow_from_the_distributions(given, names):
    found = Names.of(*given)
    assert (found.distribution, found.package, found.part, found.prefix) == names


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            ("zoo mine",),
            "'zoo mine' is no name of a distribution: letters, digits and - _ . between them, such as zoo-",
        ),
        (("-mine",), "'-mine' is no name of a distribution"),
        (("../mine",), "'../mine' is no name of a distribution"),
        (("",), "'' is no name of a distribution"),
        (("3d-parts",), "'3d-parts': Python cannot import '3d_parts'; try zoo-3d-parts"),
        (("class",), "'class': Python cannot import 'class'; try zoo-class"),
        (("Torch",), "'Torch': a package 'torch' can be imported already ("),
        (("zoo-3d",), "'3d' is no name of a part: lower-case letters, digits and _, such as linear_mlp; give one by"),
        (("zoo-mine", "QK"), "'QK' is no name of a part"),
    ],
)
def test_names_that_cannot_be_used(given, problem):
    with pytest.raises(PluginError) as error:
        Names.of(*given)
    assert str(error.value).startswith(problem)


def test_a_plug_in_may_be_written_again_for_more_of_its_parts(tmp_path, monkeypatch):
    (tmp_path / "zoo_again").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"'zoo_again' can be imported already \(/.*/zoo_again\)"):
        Names.of("zoo-again")
    info = tmp_path / "zoo_again-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-again\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zoo.parts]\nagain = zoo_again.parts\n")
    assert Names.of("zoo-again").part == "again"


def test_a_part_of_zoos_own_keeps_its_name():
    names = Names.of("zoo-dit")
    names.refuse_taken(["mlp", "head"])
    with pytest.raises(PluginError, match=r"^zoo has a block 'dit' of its own; give another name by --part$"):
        names.refuse_taken(["mlp", "block"])
