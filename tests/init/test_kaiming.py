"""Which gain each layer gets, against closed forms; what is left alone; what is refused."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from torch import nn

import slopewise as sw
from slopewise import init
from slopewise.errors import ModelError


def stds(report):
    return {layer.name: layer.std for layer in report.layers}


def gains(report):
    """Of layers whose groups are alike."""
    assert all(layer.gain[0] == pytest.approx(layer.gain[1]) for layer in report.layers)
    return {layer.name: pytest.approx(layer.gain[0]) for layer in report.layers}


@settings(max_examples=30)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=6), st.sampled_from(["fan_in", "fan_out"]))
def test_slopes_per_channel_are_summed_over_the_fan(slopes, mode):
    """Var[w] k² Σ_c ½(1 + a_c²) = 1, over the channels in front of a layer, or behind it."""
    count = len(slopes)
    model = nn.Sequential(nn.Conv2d(3, count, 3), sw.PReLU(count, slopes), nn.Conv2d(count, 5, 3))
    report = init.kaiming(model, mode=mode)
    total = 9 * sum((1 + a * a) / 2 for a in slopes)
    assert stds(report)["2" if mode == "fan_in" else "0"] == pytest.approx((total**-0.5, total**-0.5), rel=1e-6)
    assert stds(report)["0" if mode == "fan_in" else "2"] == pytest.approx(
        [(9 * (3 if mode == "fan_in" else 5)) ** -0.5] * 2
    )


class OneOf(nn.Module):
    """A linear layer behind one activation, however it is written."""

    def __init__(self, act):
        super().__init__()
        self.act, self.head = act, nn.Linear(8, 8)
        self.q = nn.Parameter(torch.linspace(-1, 1, 8))

    def forward(self, x):
        return self.head(self.act(self, x) if not isinstance(self.act, nn.Module) else self.act(x))


def beyond_bounds():
    layer = sw.PReLU(8, bounds=(0.0, 1.0))
    layer.weight.data.fill_(3.0)
    return layer


@pytest.mark.parametrize("example", [None, torch.zeros(2, 8)], ids=["graph", "example"])
@pytest.mark.parametrize(
    ("act", "square"),
    [
        (nn.Identity(), 1.0),
        (nn.ReLU(), 0.0),
        (nn.ReLU(inplace=True), 0.0),
        (nn.LeakyReLU(0.5), 0.25),
        (nn.PReLU(init=-0.5), 0.25),
        (sw.PReLU(8, [0, 0, 0, 0, 1, 1, 1, 1]), 0.5),
        (sw.PReLU(8, 0.5, channel_dim=-1), 0.25),
        (beyond_bounds(), 1.0),
        (sw.BatchNormPReLU1d(8, init=0.5), 0.25),
        (sw.BatchNormPReLU1d(8, init=1.0, learnable=False), 1.0),
        (nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout()), 0.0),
        (nn.Sequential(nn.ReLU(), nn.LayerNorm(8)), 1.0),
        (nn.RReLU(0.25, 0.75), 0.25),  # as in evaluation mode
        (lambda self, x: x.relu_(), 0.0),
        (lambda self, x: torch.relu(x), 0.0),
        (lambda self, x: F.leaky_relu(x, 0.5), 0.25),
        (lambda self, x: F.leaky_relu(x, negative_slope=0.5), 0.25),
        (lambda self, x: F.prelu(x, self.q), (1 + 25 / 49 + 9 / 49 + 1 / 49) / 4),
        (lambda self, x: sw.functional.prelu(x, self.q), (1 + 25 / 49 + 9 / 49 + 1 / 49) / 4),
        (lambda self, x: F.relu(x)[:, None].transpose(1, 2).flatten(1), 0.0),
    ],
)
def test_activations_however_they_are_written(act, square, example):
    report = init.kaiming(OneOf(act), example)
    assert report.layers[0].gain[0] == pytest.approx(math.sqrt(2 / (1 + square)), rel=1e-5)
    assert not report.unknown


def test_compiled_operators_are_seen_as_what_they_are():
    class Large(OneOf):
        def forward(self, x):
            return self.head(sw.functional.prelu(x, self.q))

    report = init.kaiming(Large(None), torch.randn(4000, 8))
    assert report.layers[0].gain[0] == pytest.approx(init.gain(torch.linspace(-1, 1, 8)), rel=1e-6)
    assert not report.unknown


@pytest.mark.parametrize("example", [None, torch.zeros(2, 8)], ids=["graph", "example"])
def test_other_activations_by_their_own_second_moment(example):
    def silu(x):
        return x * special.expit(x)

    second = stats.norm.expect(lambda x: silu(x) ** 2)
    report = init.kaiming(OneOf(nn.SiLU()), example)
    assert report.layers[0].gain[0] == pytest.approx(second**-0.5, rel=1e-4)
    report = init.kaiming(OneOf(lambda self, x: 2 * torch.sigmoid(x)), example)
    second = stats.norm.expect(lambda x: 4 * special.expit(x) ** 2)
    assert report.layers[0].gain[0] == pytest.approx(second**-0.5, rel=1e-4)


def test_an_operation_that_is_unknown_is_named():
    report = init.kaiming(OneOf(lambda self, x: F.softmax(x, 1)))
    assert gains(report) == {"head": 1.0}
    assert report.unknown == ("softmax() in the model",)
    assert "taken to give second moment 1:\n  softmax() in the model" in str(report)


@pytest.mark.parametrize(
    ("layer", "fan_in", "fan_out"),
    [
        (nn.Conv1d(4, 6, 5, stride=2), 4 * 5, 6 * 5 / 2),
        (nn.Conv2d(4, 6, (3, 5), groups=2), 2 * 15, 3 * 15),
        (nn.Conv2d(4, 6, 1, stride=2), 4, 6),  # places that no window looks at do not count
        (nn.Conv3d(4, 6, 3, dilation=2), 4 * 27, 6 * 27),
        (nn.ConvTranspose1d(4, 6, 5), 4 * 5, 6 * 5),
        (nn.ConvTranspose2d(4, 6, 4, stride=2), 4 * 16 / 4, 6 * 16),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), 2 * 9 / 4, 3 * 9),
        (nn.Linear(4, 6), 4, 6),
    ],
)
def test_fans(layer, fan_in, fan_out):
    for mode, fan in (("fan_in", fan_in), ("fan_out", fan_out)):
        (entry,) = init.kaiming(nn.Sequential(layer), mode=mode).layers
        assert entry.fan == fan
        assert entry.std == pytest.approx((fan**-0.5, fan**-0.5))
        assert entry.gain == pytest.approx((1, 1))


@pytest.mark.parametrize("layer", [nn.Conv2d(16, 16, 6, stride=3), nn.ConvTranspose2d(16, 16, 5, stride=2)])
def test_strides_measured_in_both_directions(layer):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 16, 24, 24, generator=generator, requires_grad=True)
    init.kaiming(nn.Sequential(layer), mode="fan_in", generator=generator)
    inside = layer(x.detach())[:, :, 6:-6, 6:-6] if layer.transposed else layer(x.detach())
    assert inside.square().mean().item() == pytest.approx(1, abs=0.1)
    init.kaiming(nn.Sequential(layer), mode="fan_out", generator=generator)
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=generator))
    assert x.grad[:, :, 6:-6, 6:-6].square().mean().item() == pytest.approx(1, abs=0.1)


def test_depthwise_convolutions_have_a_scale_for_each_channel():
    slopes = [0.0, 0.5, 2.0]
    model = nn.Sequential(nn.Conv2d(1, 3, 1), sw.PReLU(3, slopes), nn.Conv2d(3, 300, 9, groups=3))
    report = init.kaiming(model, generator=torch.Generator().manual_seed(0))
    expected = [(81 * (1 + a * a) / 2) ** -0.5 for a in slopes]
    assert report.layers[1].std == pytest.approx((min(expected), max(expected)))
    measured = model[2].weight.view(3, -1).std(1)
    assert measured.tolist() == pytest.approx(expected, rel=0.05)  # of 8100 values: 6 standard errors


@pytest.mark.parametrize(
    ("distribution", "law"), [("normal", stats.norm()), ("uniform", stats.uniform(-(3**0.5), 12**0.5))]
)
def test_distributions(distribution, law):
    model = nn.Sequential(nn.Linear(50, 100), nn.PReLU(), nn.Linear(100, 100))
    init.kaiming(model, distribution=distribution, generator=torch.Generator().manual_seed(0))
    scaled = model[2].weight.detach().flatten() / (init.gain(0.25) / 10)
    assert stats.kstest(scaled.numpy(), law.cdf).pvalue > 0.01
    assert not model[2].bias.any()


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 12, 3, padding=1)
        self.up, self.last = nn.ConvTranspose2d(12, 12, 2, 2), nn.Conv2d(16, 2, 1)
        self.a, self.b, self.c = sw.PReLU(4, 0.5), nn.ReLU(), sw.PReLU(12, 2.0)

    def forward(self, x):
        skip = self.a(self.down(x))
        deep = self.b(self.deep(F.max_pool2d(skip, 2)))
        return self.last(torch.cat([skip, self.c(self.up(deep))], dim=1))


@pytest.mark.parametrize("example", [None, torch.zeros(1, 1, 8, 8)], ids=["graph", "example"])
def test_concatenated_channels_count_by_their_number(example):
    report = init.kaiming(UNet(), example)
    assert gains(report) == {
        "down": 1.0,
        "deep": math.sqrt(2 / 1.25),
        "up": math.sqrt(2),
        "last": math.sqrt(16 / (4 * 1.25 / 2 + 12 * 5 / 2)),
    }
    assert report.layers[-1].neighbours == ("a (PReLU)", "c (PReLU)")
    # Behind `down` stand `deep` and `last`, by way of the same activation: gradients add up.
    report = init.kaiming(UNet(), example, mode="fan_out")
    assert report.layers[0].gain[0] == pytest.approx((2 * 1.25 / 2) ** -0.5)
    assert report.layers[1].gain[0] == pytest.approx(math.sqrt(2))
    assert report.layers[2].gain[0] == pytest.approx((5 / 2) ** -0.5)


class Collecting(nn.Module):
    """As segmentation networks for small devices do: the picture itself goes in again, beside what was made of it."""

    def __init__(self):
        super().__init__()
        self.stem, self.act, self.pool = nn.Conv2d(3, 4, 2, 2), sw.PReLU(4, [0.0, 1.0, 0.0, 1.0]), nn.AvgPool2d(2)
        self.head = nn.Conv2d(7, 5, 1)

    def forward(self, x):
        found = torch.tensor([])
        for part in (self.pool(x), self.act(self.stem(x))):
            found = torch.cat([found, part], 1)
        return self.head(found)


def test_the_image_itself_counts_by_its_channels_in_a_concatenation():
    """No layer stands before it to tell where its channels are; its shape does."""
    example = torch.zeros(2, 3, 8, 8)
    assert gains(init.kaiming(Collecting(), example))["head"] == math.sqrt(7 / (3 + 2 / 2 + 2))
    assert gains(init.kaiming(Collecting(), example, mode="fan_out"))["stem"] == math.sqrt(4 / (4 * (1 / 2 + 1) / 2))


def test_flattening_repeats_channels_or_goes_round_them():
    slopes = [0.0, 1.0]
    tail = nn.Conv1d(8, 2, 1, groups=2)  # tells the first half of the features from the second
    images = nn.Sequential(
        nn.Conv2d(1, 2, 1), sw.PReLU(2, slopes), nn.MaxPool2d(2), nn.Flatten(), nn.Unflatten(1, (8, 1)), tail
    )
    for example in (None, torch.zeros(2, 1, 4, 4)):
        low, high = init.kaiming(images, example).layers[1].std
        assert (low, high) == pytest.approx((4**-0.5, 2**-0.5))
    tokens = nn.Sequential(
        nn.Linear(3, 2), sw.PReLU(2, slopes, channel_dim=-1), nn.Flatten(), nn.Unflatten(1, (8, 1)), tail
    )
    assert init.kaiming(tokens, torch.zeros(5, 4, 3)).layers[1].std == pytest.approx((3**-0.5, 3**-0.5))


class Residual(nn.Module):
    def __init__(self, inplace):
        super().__init__()
        self.inplace = inplace
        self.stem, self.branch, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.branch(F.relu(x, inplace=self.inplace))
        y += x
        return self.head(y)


@pytest.mark.parametrize("example", [None, torch.zeros(2, 4)], ids=["graph", "example"])
def test_sums_add_second_moments_and_what_is_changed_in_place_counts_as_changed(example):
    assert gains(init.kaiming(Residual(inplace=False), example))["head"] == 2**-0.5
    assert gains(init.kaiming(Residual(inplace=True), example))["head"] == 1.5**-0.5
    out = init.kaiming(Residual(inplace=False), example, mode="fan_out")
    # The stem's output meets the head through the sum, and through ReLU the branch.
    assert gains(out)["stem"] == 1.5**-0.5
    assert gains(out)["branch"] == 1.0


def test_means_count_where_rectified_values_are_added():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.head(F.relu(self.a(x)) + F.relu(self.b(x)) - 1)

    mean, variance = 2 / math.sqrt(2 * math.pi) - 1, 2 * (0.5 - 1 / (2 * math.pi))
    assert gains(init.kaiming(Sum()))["head"] == (mean**2 + variance) ** -0.5


def test_channels_that_are_picked_apart():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.act, self.head = nn.Linear(4, 8), sw.PReLU(8, [0.0] * 4 + [1.0] * 4), nn.Linear(4, 4)

        def forward(self, x):
            value, gate = self.act(self.body(x)).chunk(2, 1)
            return self.head(value * gate)

    for example in (None, torch.zeros(2, 4)):  # each half is taken to be as all channels are: second moment 3/4
        assert gains(init.kaiming(Gate(), example))["head"] == 4 / 3


def test_layers_called_twice_or_sharing_a_weight_get_the_mean():
    shared = nn.Linear(6, 6)
    twin = nn.Linear(6, 6)
    twin.weight = shared.weight
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), shared, sw.PReLU(6, 2.0), shared, nn.Identity(), twin)
    report = init.kaiming(model)
    first = (6 / 2 + 6 * 5 / 2) / 2  # the two calls of the one
    assert stds(report)["2"] == stds(report)["6"] == pytest.approx([((first + 6) / 2) ** -0.5] * 2)
    assert report.layers[1].notes == ("called 2 times, initialised for the mean", "its weight is also that of 6")
    assert torch.equal(twin.weight, shared.weight)


class Language(nn.Module):
    """An embedding and a head with one weight, an attention whose projection PyTorch calls by itself, a spare layer."""

    def __init__(self):
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(10, 4), nn.Linear(4, 4), nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight
        self.spare = nn.Linear(4, 4)

    def forward(self, tokens):
        return self.head(F.relu(self.body(self.embed(tokens))))


def test_what_is_left_alone_is_listed_and_untouched():
    model = Language()
    before = copy.deepcopy(model.state_dict())
    report = init.kaiming(model, torch.zeros(2, 3, dtype=torch.long))
    assert [layer.name for layer in report.layers] == ["body"]
    assert dict(report.left) == {
        "head": "it shares its weight with embed (Embedding)",
        "spare": "the forward pass does not call it, or nothing uses what it gives",
    }
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"body.weight", "body.bias"}


def test_frozen_layers_and_normalisations_keep_their_values():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 1)
    )
    nn.init.normal_(model[1].bias)
    model[0].weight.requires_grad_(requires_grad=False)
    model[5].bias.requires_grad_(requires_grad=False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    example, state = torch.randn(2, 3, 8, 8), torch.random.get_rng_state()
    report = init.kaiming(model, example, generator=torch.Generator().manual_seed(0))
    assert torch.equal(state, torch.random.get_rng_state())
    assert report.left == (("0", "its weight is frozen"),)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"3.weight", "3.bias", "5.weight"}
    assert model.training


def test_parametrised_weights():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(100, 100)),
        nn.PReLU(),
        nn.utils.parametrizations.spectral_norm(nn.Linear(100, 3)),
    )
    spectral = model[2].parametrizations.weight.original.clone()
    for example in (None, torch.zeros(1, 100)):
        report = init.kaiming(model, example)
        assert [layer.name for layer in report.layers] == ["0"]
        assert report.left == (("2", "its weight is parametrised (_SpectralNorm), which need not give what is drawn"),)
    assert model[0].weight.std().item() == pytest.approx(0.1, rel=0.05)  # of 10,000 values: 7 standard errors
    assert torch.equal(model[2].parametrizations.weight.original, spectral)


def test_a_scale_without_effect_is_noted():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), sw.ConvBNPReLU(2, 2), nn.Conv2d(2, 2, 1))
    notes = {layer.name: layer.notes for layer in init.kaiming(model).layers}
    nothing = ("its scale has no effect: what it gives is normalised",)
    assert notes == {"0": nothing, "3.conv": nothing, "4": ()}


def test_generators_and_dtypes():
    model = nn.Sequential(nn.Linear(8, 64), nn.PReLU(), nn.Linear(64, 64)).bfloat16()
    init.kaiming(model, generator=torch.Generator().manual_seed(5))
    first = model[2].weight.clone()
    init.kaiming(model, generator=torch.Generator().manual_seed(5))
    assert torch.equal(model[2].weight, first)
    assert first.dtype == torch.bfloat16
    single = nn.Sequential(nn.Linear(8, 64), nn.PReLU(), nn.Linear(64, 64))
    init.kaiming(single, generator=torch.Generator().manual_seed(5))
    assert torch.equal(single[2].weight.bfloat16(), first)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.act, self.head = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.act(self.layer(x))) if x.sum() > 0 else x


def test_what_the_graph_cannot_show_the_example_does():
    with pytest.raises(ModelError, match=r"torch.fx cannot trace Branching .*: pass example_inputs"):
        init.kaiming(Branching())
    assert gains(init.kaiming(Branching(), torch.ones(1, 3))) == {"layer": 1.0, "head": math.sqrt(2)}
    assert gains(init.kaiming(Branching(), {"x": torch.ones(1, 3)}))["head"] == math.sqrt(2)

    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(3, 3), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(torch.cat([x, F.relu(self.layer(x))], 1))

    with pytest.raises(ModelError, match="how many channels it has: pass example_inputs"):
        init.kaiming(Joined())
    assert gains(init.kaiming(Joined(), torch.ones(1, 3)))["head"] == math.sqrt(6 / (3 + 3 / 2))


def test_refusals_leave_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(3, 3), sw.PReLU(3), nn.Linear(3, 3))
    model[1].weight.data[1] = math.nan
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match="what '2' adds up has second moments with the sum nan"):
        init.kaiming(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items() if key != "1.weight")
    with pytest.raises(ValueError, match="unknown mode='fan-in'; did you mean 'fan_in'"):
        init.kaiming(model, mode="fan-in")
    with pytest.raises(ValueError, match="unknown distribution='gaussian'"):
        init.kaiming(model, distribution="gaussian")
    with pytest.raises(ModelError, match=r"'0\.weight' has no shape yet"):
        init.kaiming(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(ModelError, match=r"'0\.weight' has no values \(meta device\)"):
        init.kaiming(nn.Sequential(nn.Linear(3, 3, device="meta")))
    with pytest.raises(ModelError, match="ReLU has no convolution and no linear layer"):
        init.kaiming(nn.ReLU())
