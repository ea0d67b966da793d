"""Every tensor of a module has somebody who makes it after building on the meta device."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from zoo.errors import PluginError
from zoo.parts.initialise import EmptyIsNaN, faults, init_weights, unmade


class Owner(nn.Module):
    def __init__(self, **attributes):
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


class Scale(Owner):
    def reset_parameters(self):
        for parameter in self.parameters():
            nn.init.ones_(parameter)


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.zeros(2))


@pytest.mark.parametrize(
    "sound",
    [
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.RMSNorm(2), nn.GroupNorm(1, 2), nn.PReLU()),
        nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Embedding(2, 2), nn.Bilinear(2, 2, 2)),
        nn.LSTM(2, 2),
        nn.MultiheadAttention(4, 2, add_bias_kv=True),
        nn.TransformerEncoderLayer(4, 2, 4),
        Owner(tables=nn.ModuleList([Scale(weight=parameter())])),
        Scale(weights=nn.ParameterList([parameter()]), named=nn.ParameterDict({"a": parameter()})),
        Scale(weight=parameter(), sizes=[1, (2, "x")], none=None),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_has_an_initialiser_is_sound(sound):
    assert not list(faults(sound))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Owner(weight=parameter()), "it owns weight and has no reset_parameters()"),
        (nn.Sequential(nn.Linear(2, 2), Owner(a=parameter(), b=parameter())), "1 (Owner) owns a, b and has no"),
        (Owner(weights=nn.ParameterList([parameter(), parameter()])), "it owns weights.0, weights.1 and has no"),
        (weight_norm(nn.Linear(2, 2)), "parametrizations.weight (ParametrizationList) is a parametrization"),
        (Owner(table=torch.zeros(2)), "it holds tensors or modules in table"),
        (Owner(tables={"a": [(torch.zeros(2),)]}), "it holds tensors or modules in tables"),
        (Owner(layers=[nn.Linear(2, 2)]), "it holds tensors or modules in layers"),
        (nn.Sequential(Owner(layers=(nn.Linear(2, 2),))), "0 (Owner) holds tensors or modules in layers"),
    ],
)
def test_what_nobody_makes_is_named(broken, message):
    (fault,) = faults(broken)
    assert fault.startswith(message)
    assert "\n" not in fault


def test_a_buffer_that_no_state_dict_holds_needs_one_too():
    module = nn.Module()
    module.register_buffer("table", torch.zeros(2), persistent=False)
    (fault,) = faults(module)
    assert fault.startswith("it owns table and has no reset_parameters()")


def test_what_a_part_refers_to_within_itself_is_registered():
    linear = nn.Linear(2, 2)
    assert not list(faults(Owner(linear=linear, order=[linear], weight_of=(linear.weight,))))


def test_the_holder_has_the_last_word():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.reset_parameters()

        def reset_parameters(self):
            nn.init.zeros_(self.linear.weight)

    gate = Gate()
    init_weights(gate)
    assert not gate.linear.weight.any()


def test_attention_of_pytorch_is_made_as_its_constructor_makes_it():
    with torch.device("meta"):
        made = nn.MultiheadAttention(4, 2, add_bias_kv=True).to_empty(device="cpu")
    with torch.no_grad():
        for each in made.parameters():
            each.fill_(float("nan"))
    init_weights(made)
    assert all(each.isfinite().all() for each in made.parameters())
    assert not made.in_proj_bias.any()
    assert not made.out_proj.bias.any()


def test_an_initialiser_of_ones_own_goes_before_pytorchs():
    class Scaled(nn.MultiheadAttention):
        def __init__(self):
            super().__init__(4, 2)
            self.scale = parameter()
            self.reset_parameters()

        def reset_parameters(self):
            self._reset_parameters()
            nn.init.ones_(self.scale)

    scaled = Scaled()
    nn.init.zeros_(scaled.scale)
    init_weights(scaled)
    assert scaled.scale.all()


@pytest.mark.parametrize("make", [lambda one: nn.ModuleList([one, one]), lambda one: Owner(one=one, other=one)])
def test_a_tensor_under_two_names_is_refused(make):
    """A checkpoint holds each tensor once, and ``to_empty`` would make two of them."""
    told = list(faults(make(nn.Linear(2, 2))))
    assert len(told) == 2
    assert told[0].endswith("it wherever it is wanted")
    assert "weight and " in told[0]


def test_no_gradient_is_asked_of_initialisers():
    class Filled(Owner):
        def reset_parameters(self):
            self.weight.fill_(3.0)

    module = Filled(weight=parameter())
    init_weights(module)
    assert module.weight.tolist() == [3.0, 3.0]


class Forgetful(Owner):
    def reset_parameters(self):
        nn.init.ones_(self.made)


def test_what_is_forgotten_inside_an_initialiser_is_named():
    module = nn.Sequential(nn.Linear(2, 2), Forgetful(made=parameter(), left=parameter()))
    with pytest.raises(PluginError, match=r"^1\.left is not made: NaN is left"):
        init_weights(module)


def test_a_buffer_may_be_made_anew_in_place_of_the_old_one():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.empty(3), persistent=False)

        def reset_parameters(self):
            self.table = torch.arange(3.0)

    module = Table()
    init_weights(module)
    assert module.table.tolist() == [0.0, 1.0, 2.0]


def test_a_buffer_that_is_filled_in_part_is_named():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.empty(2, 2, dtype=torch.complex64), persistent=False)

        def reset_parameters(self):
            self.table[0] = 1j

    with pytest.raises(PluginError, match=r"^table is not made"):
        init_weights(Half())


WAYS_TO_EMPTY = {
    "empty": lambda: torch.empty(2),
    "empty_like": lambda: torch.empty_like(torch.zeros(2)),
    "empty_strided": lambda: torch.empty_strided((2, 2), (2, 1)),
    "empty_permuted": lambda: torch.empty_permuted((2, 3), (1, 0)),
    "new_empty": lambda: torch.zeros(2).new_empty(2),
    "new_empty_strided": lambda: torch.zeros(2).new_empty_strided((2, 2), (2, 1)),
    "new": lambda: torch.zeros(2).new(4, 4),
    "Tensor": lambda: torch.Tensor(4, 4),
    "FloatTensor": lambda: torch.FloatTensor(4, 4),
    "Parameter": lambda: nn.Parameter(torch.Tensor(2)),
}


@pytest.mark.parametrize("way", WAYS_TO_EMPTY)
def test_empty_memory_holds_nan(way):
    with EmptyIsNaN():
        assert WAYS_TO_EMPTY[way]().isnan().all()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.complex64])
def test_a_buffer_that_nobody_fills_is_named_whatever_its_dtype(dtype):
    class Table(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.register_buffer("table", make(2, dtype=dtype))

    with EmptyIsNaN():
        assert [each.split()[0] for each in unmade(Table(torch.empty))] == ["table"]
        assert not list(unmade(Table(torch.ones)))


def test_a_buffer_of_numbers_that_have_no_nan_is_left_as_it_is():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("packed", torch.empty(2, dtype=torch.float4_e2m1fn_x2))

    with EmptyIsNaN():
        assert not list(unmade(Packed()))


def test_empty_memory_holds_nan_only_within_and_but_for_whole_numbers():
    with EmptyIsNaN():
        assert not nn.Linear(2, 2).weight.isnan().any()
        assert torch.empty(2, dtype=torch.int64).dtype == torch.int64
        assert torch.empty(2, device="meta").is_meta
