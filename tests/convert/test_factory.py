"""Factories given as `to=`: their argument, the facts of each site, and the modules that they may return."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise import convert as convert_room
from slopewise.convert import SiteContext
from slopewise.errors import ConversionError

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """One PReLU at two places, a function, and one activation whose channels are last."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 5, 1)
        self.act, self.last, self.fc = nn.PReLU(init=0.4), nn.GELU(), nn.Linear(5, 2)

    def forward(self, x):
        x = self.act(self.b(self.act(self.a(x))))
        x = F.relu(self.c(x))
        return self.fc(self.last(self.fc.weight.new_ones(()) * x.flatten(2).transpose(1, 2)))


def by_annotation(where: SiteContext) -> nn.Module:
    return sw.PReLU(where.channels)


def by_text(where: "convert_room.SiteContext") -> nn.Module:
    return sw.PReLU(where.channels)


def of_count(site: int) -> nn.Module:
    return nn.PReLU(site)


def any_number(*args):
    return nn.PReLU(*args)


class Builder:
    def __call__(self, site):
        return sw.PReLU(site.channels)

    def build(self, site, slope=0.1):
        return sw.PReLU(site.channels, slope)


class OfSite(nn.PReLU):
    def __init__(self, site: SiteContext):
        super().__init__(site.channels)


@pytest.mark.parametrize(
    "to",
    [
        lambda site: sw.PReLU(site.channels),
        by_annotation,
        by_text,
        Builder(),
        Builder().build,
        functools.partial(Builder().build, slope=0.3),
        OfSite,
        # From here on, a number of channels:
        lambda c: nn.PReLU(c, 0.1),
        lambda channels, init=0.1: nn.PReLU(channels, init),
        nn.PReLU,
        functools.partial(nn.PReLU, init=0.1),
        sw.PReLU,
        of_count,
        any_number,
        nn.Identity,
    ],
)
def test_the_first_parameter_decides_between_site_and_number_of_channels(to):
    """A factory that got the other of the two would raise."""
    conversion = sw.convert(Net(), X, to=to, only="prelu")
    assert [type(conversion.model.get_submodule(s.name)) for s in conversion.sites] != []
    if to is not nn.Identity:
        assert all(conversion.model.get_submodule(s.name).num_parameters == 4 for s in conversion.sites)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (
            nn.PReLU(),
            r"to=PReLU\(\.\.\.\) is a module, and each site gets one of its own: write to=lambda channels: PReLU",
        ),
        (nn.LeakyReLU, r"number of channels for its `negative_slope`: write to=lambda channels: LeakyReLU\(\.\.\.\)"),
        (nn.ReLU, "for its `inplace`"),
        (nn.GELU, "for its `approximate`"),
        (
            lambda: nn.ReLU(inplace=False),
            r"to=<lambda> is called with one argument, and takes \(\) .*: write to=lambda channels",
        ),
        (lambda channels, site: nn.ReLU(), r"takes \(channels, site\) \(missing a required argument: 'site'\)"),
        (lambda *, site: nn.ReLU(inplace=False), "or to=lambda site: "),
        (functools.partial(nn.PReLU, num_parameters=3), "to=PReLU is called with one argument"),
        (nn.GroupNorm, "missing a required argument: 'num_channels'"),
        (lambda channels: channels, r"must return a torch\.nn\.Module, or None .*; for 'act' it returned int"),
    ],
)
def test_a_callable_that_builds_no_module_for_a_site_is_refused(to, message):
    with pytest.raises(TypeError, match=message):
        sw.convert(Net(), X, to=to)


def test_each_site_is_described_and_they_come_in_the_order_of_the_forward_pass():
    sites = []

    def build(site):
        sites.append(site)
        return sw.PReLU(site.channels)

    net = Net()
    conversion = sw.convert(nn.DataParallel(net), X, to=build)
    assert [site.name for site in sites] == [site.name for site in conversion.sites]
    assert [(s.name, s.kind, s.channels, s.channel_dim, s.shape) for s in sites] == [
        ("module.act", "prelu", 4, 1, (2, 4, 6, 6)),
        ("module.act_2", "prelu", 4, 1, (2, 4, 6, 6)),
        ("module.relu_1", "relu", 5, 1, (2, 5, 6, 6)),
        ("module.last", "gelu", 5, -1, (2, 36, 5)),
    ]
    first, second, function, last = (site.module for site in sites)
    assert first is second, "one module of the network"
    assert first is not net.act, "the model given is left alone"
    assert torch.equal(first.weight, net.act.weight)
    assert torch.equal(function(X), X.relu())
    assert type(last) is nn.GELU
    assert conversion.model.module.last.channel_dim == -1


def test_sites_get_different_modules_or_keep_their_own():
    def build(site: SiteContext) -> nn.Module | None:
        return {"prelu": site.module, "relu": nn.SiLU(), "gelu": None}[site.kind]

    net = Net()
    conversion = sw.convert(net, X, to=build)
    model = conversion.model
    assert model.act is model.act_2, "returned as it is, the module is shared as before"
    assert type(model.relu_1) is nn.SiLU
    assert [(r.name, r.reason, r.quiet) for r in conversion.skipped] == [("last", "`to` returned None for it", True)]
    assert [site.kind for site in conversion.sites] == ["prelu", "prelu", "relu"]
    with pytest.raises(ConversionError, match="`to` returned None for it"):
        sw.convert(net, X, to=lambda site: None)


def test_a_site_that_stays_writes_in_place_as_before():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(inplace=True)

        def forward(self, x):
            x = self.a(x)
            self.act(x)
            return F.silu(self.b(x))

    net, x = InPlace(), torch.randn(3, 4)
    conversion = sw.convert(net, x, to=lambda site: None if site.kind == "relu" else site.module)
    assert type(conversion.model.act) is nn.ReLU
    assert torch.equal(conversion.model(x), net(x))
    names = []
    written = sw.convert(net, x, only="relu", to=lambda site: names.append(site.name) or nn.ReLU())
    assert (names, [site.name for site in written.sites]) == (["act"], ["act.act"])


def test_modules_that_do_not_run_are_an_error_that_says_so():
    class Never(nn.Module):
        def forward(self, x):
            raise ValueError("no such shape")

    message = "does not run on example_inputs with the new activations: ValueError: no such shape"
    with pytest.raises(ConversionError, match=message):
        sw.convert(Net(), X, to=lambda site: Never())
