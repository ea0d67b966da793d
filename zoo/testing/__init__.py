"""The conformance kit: laws that parts and assemblies keep, to be run by those who write parts.

Needs hypothesis and pytest: the extra ``testing`` of diffusion-zoo. In a plug-in's tests::

    from zoo.testing import laws_of_parts

    test_laws = laws_of_parts(MyBlock, MyMLP)

That is a test for every part and law; ``laws_of_package("my-package")`` makes those of all parts of an installed
package, as ``pytest --zoo-plugin my-package`` does without a file of tests. ``check_part(MyBlock)`` checks all laws of
a part at once.

A dataset is checked with files that are here: ``check_part(MyDataset, options={"folder": ...})``. A law of your own is
a function of a ``Case``, marked ``@law(advice)``: ``check_part(MyBlock, laws=[mine])``. ``check_format(MyFormat)``
checks a weight format.
"""

try:
    from zoo.testing.assemblies import ASSEMBLY_LAWS
    from zoo.testing.check import check_assemblies, check_part
    from zoo.testing.collect import laws_of_package, laws_of_parts
    from zoo.testing.data_laws import tells_its_data
    from zoo.testing.format_laws import check_format
    from zoo.testing.law import Law, law
    from zoo.testing.laws import LAWS, laws_of
    from zoo.testing.plain_refusals import plain_refusals
    from zoo.testing.random_assemblies import load_or_pass
    from zoo.testing.recipes import recipes
    from zoo.testing.strategies import options
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in ("hypothesis", "pytest"):
        raise
    needed = f"zoo.testing needs {missing}: pip install 'diffusion-zoo[testing]'"
    raise ModuleNotFoundError(needed, name=missing) from None

__all__ = [
    "ASSEMBLY_LAWS",
    "LAWS",
    "Law",
    "check_assemblies",
    "check_format",
    "check_part",
    "law",
    "laws_of",
    "laws_of_package",
    "laws_of_parts",
    "load_or_pass",
    "options",
    "plain_refusals",
    "recipes",
    "tells_its_data",
]
