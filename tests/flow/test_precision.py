import torch

from zoo.flow.precision import clock_dtype, just_above, just_below, widest_dtype


def test_noise_levels_have_at_least_single_precision():
    assert [clock_dtype(dtype) for dtype in (torch.bfloat16, torch.float32, torch.float64)] == [
        torch.float32,
        torch.float32,
        torch.float64,
    ]


def test_neighbours_are_those_of_the_dtype():
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        rounded = torch.tensor(0.3, dtype=dtype)
        above, below = (torch.tensor(f(0.3, dtype), dtype=dtype) for f in (just_above, just_below))
        assert below < rounded < above
        assert torch.nextafter(below, above) == rounded


def test_apples_gpus_have_no_double_precision():
    assert [widest_dtype(torch.device(name)) for name in ("cpu", "cuda", "mps")] == [
        torch.float64,
        torch.float64,
        torch.float32,
    ]
