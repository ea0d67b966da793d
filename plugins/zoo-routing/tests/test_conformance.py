import hypothesis.strategies as st

import zoo
from zoo.testing import check_assemblies, check_part, laws_of_parts
from zoo_routing.maskdit import BridgeBlock, KeptSquaredError, MaskedReconstruction, ZeroNull
from zoo_routing.routers import MaskDiT, Sprint

test_laws = laws_of_parts(BridgeBlock, KeptSquaredError, MaskedReconstruction, ZeroNull)


def test_the_routers_keep_the_laws():
    options = st.fixed_dictionaries({"stop": st.just(2), "share": st.floats(0.1, 0.9)})
    check_part(MaskDiT, options=options, supplied={"depth": 4, "block_dims": (16,) * 4, "dim": 16}, examples=6)
    options = st.fixed_dictionaries({"before": st.just(1), "behind": st.just(1), "group": st.integers(2, 3)})
    check_part(Sprint, options=options, supplied={"depth": 4, "block_dims": (16,) * 4, "dim": 16}, examples=6)


def test_assemblies_keep_the_laws():
    parts = [BridgeBlock, ZeroNull]
    check_assemblies(
        zoo.Registry().with_parts(parts), examples=3, block="maskdit_bridge", class_conditioner="zero_null"
    )


def test_assemblies_of_the_routers_keep_the_laws():
    registry = zoo.Registry().with_parts([MaskDiT, Sprint])
    check_assemblies(registry, examples=3, router="maskdit", options={"router/maskdit": {"stop": 1}})
    check_assemblies(registry, examples=3, router="sprint", options={"router/sprint": {"before": 1, "behind": 1}})
