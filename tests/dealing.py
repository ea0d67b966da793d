"""The order of tests for the workers of pytest-xdist, each of which begins with a share of them, in one piece."""

from __future__ import annotations

import pytest


def dealt(items: list[pytest.Item], workers: int, usual: float) -> list[pytest.Item]:
    """Tests that may take longer than usual, the longest first, in turn to each worker's share; then the others.

    These stay together, for the sake of what a module makes once.
    """
    dear = sorted((each for each in items if _limit(each) > usual), key=_limit, reverse=True)
    others = [each for each in items if _limit(each) <= usual]
    cuts = [len(others) * worker // workers for worker in range(workers + 1)]
    return [
        each for worker in range(workers) for each in (*dear[worker::workers], *others[cuts[worker] : cuts[worker + 1]])
    ]


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0
