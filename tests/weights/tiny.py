"""Recipes of backbones of the published layouts, as small as they can be."""

SIT = {
    "latent": {"channels": 3, "height": 4, "width": 8},
    "num_classes": 5,
    "dim": 8,
    "depth": 2,
    "heads": 2,
    "patch_schedule": {"type": "uniform", "patch": 2},
    "time_embedder": {"type": "sinusoidal", "clock": "data"},
    "head": {"type": "linear", "learn_sigma": True},
}
PLAIN = SIT | {"time_embedder": "sinusoidal"}
DIT = SIT | {"time_embedder": {"type": "sinusoidal", "scale": 1000.0}, "prediction": "noise"}
MPDIT = {
    **SIT,
    "patch_schedule": {"type": "by_depth", "levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 1}]},
    "time_embedder": "fno",
    "class_conditioner": {"type": "class_tokens", "tokens": 2},
    "modulation": "shared_adaln",
    "upsampler": "linear_linear",
}
