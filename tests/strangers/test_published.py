"""A published backbone of another kind, assembled from strangers' parts: as many parameters as its authors print."""

import zoo
from tests.strangers.assemblies import CONVOLUTIONS, REGISTRY, levels

DICO_S = {
    "name": "dico_s",
    "backbone": {
        "latent": {"channels": 4, "height": 32, "width": 32},
        "num_classes": 1000,
        "dim": 128,
        "depth": 21,
        "heads": 2,
        "patch_schedule": {
            "type": "by_depth",
            "levels": levels((1, 5, 128), (2, 4, 256), (4, 4, 512), (2, 4, 256), (1, 4, 256)),
        },
        **CONVOLUTIONS,
        "head": {"type": "conv_out", "learn_sigma": True},
        "block": {"type": "dico", "ratio": 2},
        "upsampler": "conv_merge",
        "skip": "none",
    },
}


def test_dico_s_has_the_published_number_of_parameters():
    cost = zoo.cost(DICO_S, registry=REGISTRY)
    assert cost.params.total == cost.params.trainable == 33_137_672
