"""What else a part breaks that mixes the samples of a batch: laws whose own advice would lead past the cause."""

from __future__ import annotations

from collections.abc import Mapping

FOLLOW: Mapping[str, frozenset[str]] = {
    "batch_invariance": frozenset(
        {
            "keeps_nan_apart",
            "keeps_places",
            "runs_on_a_subset",
            "trains_on_two_ranks",
            "assembly-sample_is_alone",
            "assembly-follows_its_stages",
        }
    ),
    "trains_as_it_samples": frozenset({"leaves_its_state", "trains_on_two_ranks"}),
}
"""By the law that tells of mixing, always or in training alone, as BatchNorm does: those that likely follow from it."""
