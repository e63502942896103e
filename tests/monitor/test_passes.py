"""Forward passes of all kinds: checkpointed, repeated, without gradients, of a model that is not what it seems."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import slopewise as sw


class Block(nn.Module):
    def __init__(self, act):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.act, self.again = nn.Linear(4, 4), act, nn.Linear(4, 4)

    def forward(self, x):
        return F.gelu(self.act(self.again(self.act(self.linear(x)))) + x)


class Net(nn.Module):
    """Two blocks; `how` says whether they are checkpointed, and by which of PyTorch's two ways."""

    def __init__(self, how=None, act=nn.ReLU):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.blocks, self.how = nn.Linear(4, 4), nn.ModuleList(Block(act()) for _ in range(2)), how

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x) if self.how is None else checkpoint(block, x, use_reentrant=self.how)
        return x


def batch(size=16):
    return torch.randn(size, 4, generator=torch.Generator().manual_seed(1))


def sampled(model, *inputs, loss=None, **options):
    """The sample of one step, and the notes."""
    with sw.Monitor(model, every=1, **options) as monitor:
        (model(*inputs).square().mean() if loss is None else loss(model)).backward()
    return monitor.samples[0], monitor.notes


@pytest.mark.parametrize("how", [True, False])
@pytest.mark.parametrize("act", [nn.ReLU, sw.PReLU])
def test_recomputation_by_checkpointing_is_not_counted(how, act):
    plain, checkpointed = (sampled(Net(way, act), batch())[0] for way in (None, how))
    assert checkpointed.sites == plain.sites
    assert [site.site for site in plain.sites][:3] == ["blocks.0.act", "blocks.0.act (2)", "blocks.0.gelu()"]
    assert checkpointed.passes == 1


@pytest.mark.parametrize("how", [True, False])
def test_checkpointed_passes_accumulate(how):
    plain, checkpointed = Net(None), Net(how)
    samples = []
    for model in (plain, checkpointed):
        with sw.Monitor(model, every=1) as monitor:
            for part in batch().chunk(2):
                model(part).square().mean().backward()
        samples.append(monitor.samples[0].sites)
    assert samples[0] == samples[1]
    assert samples[0][0].values == 16


def test_passes_that_do_not_train_count_only_when_asked():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for evaluation, passes in ((False, 1), (True, 3)):
        with sw.Monitor(model, every=1, evaluation=evaluation) as monitor:
            with torch.no_grad():
                model(batch())
            with torch.inference_mode():
                model.eval()(batch())
            model.train()
            model(batch()).mean().backward()
            with torch.no_grad():
                model.eval()
                model.train()
            optimizer.step()
        assert [(s.passes, s.sites[0].values) for s in monitor.samples] == [(passes, 16 * passes)]


class Siamese(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, a, *, b):
        return (self.backbone(a) - self.backbone(b)).norm(dim=1)


def test_a_backbone_applied_twice_has_its_sites_twice_and_no_tied_slopes():
    model = Siamese(nn.Sequential(nn.Linear(4, 3), sw.PReLU(3), nn.Linear(3, 2)))
    with sw.Monitor(model, every=1) as monitor:
        model(batch(), b=-batch()).sum().backward()
    first, second = monitor.samples[0].sites
    assert (first.site, second.site) == ("backbone.1", "backbone.1 (2)")
    z = F.linear(batch(), model.backbone[0].weight, model.backbone[0].bias)
    assert first.positive == pytest.approx((z > 0).double().mean().item())
    assert second.positive != first.positive
    assert not monitor._sites.tied


class Shared(nn.Module):
    """One PReLU for two blocks, each of which applies it once."""

    def __init__(self):
        super().__init__()
        act = sw.PReLU()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), act) for _ in range(2))

    def forward(self, x):
        return self.blocks[1](self.blocks[0](x))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Block(sw.PReLU()), "applied 2 times by one call of the model"),
        (Shared(), "applied by 'blocks.0' and by 'blocks.1'"),
        (Net(how=False, act=sw.PReLU), "applied 2 times by one call of 'blocks.1'"),
    ],
)
def test_a_slope_at_several_places_is_tied(model, words):
    with sw.Monitor(model, every=1) as monitor:
        for _ in range(2):
            model(batch()).square().mean().backward()
    assert words in monitor._sites.tied.values()


def test_control_flow_that_differs_from_pass_to_pass():
    class Sometimes(nn.Module):
        """Tokens: behind a linear layer the features are last, whatever the length of the sequence."""

        def __init__(self):
            super().__init__()
            self.linear, self.act, self.rare = nn.Linear(3, 5), nn.GELU(), nn.ReLU()

        def forward(self, x, *, rare):
            y = self.act(self.linear(x))
            return self.rare(self.linear(x)) + y if rare else y

    model = Sometimes()
    with sw.Monitor(model, every=1) as monitor:
        for step, rare in enumerate([False, True, False, True, True]):
            model(torch.randn(2, 5 + step, 3), rare=rare).mean().backward()
            monitor.step_done()
    counts = [{site.site: (site.units, site.values) for site in sample.sites} for sample in monitor.samples]
    assert [f["act"] for f in counts] == [(5, 2 * (5 + step)) for step in range(5)]
    # A site that is met late is counted once a pass was followed that tells where its channels are.
    assert [f.get("rare") for f in counts] == [None, None, None, (5, 16), (5, 18)]
    assert monitor.notes == ()


def test_a_site_with_other_units_from_call_to_call_is_counted_as_it_began():
    class Varying(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.narrow = nn.Linear(4, 5), nn.Linear(4, 2)
            self.turn = 0

        def forward(self, x):
            self.turn += 1
            return F.relu(self.wide(x) if self.turn % 2 else self.narrow(x))

    model = Varying()
    with sw.Monitor(model, every=1) as monitor:
        for _ in range(2):
            model(batch()).mean().backward()
    assert [(s.units, s.values) for s in monitor.samples[0].sites] == [(5, 16)]
    assert "another number of units" in monitor.notes[0]


def test_models_that_take_and_return_what_they_like():
    class Structured(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.linear = nn.ReLU(), nn.Linear(4, 4)

        def forward(self, *, batch):
            return {"logits": [self.act(input=self.linear(batch["x"]))], "other": None}

    sample, notes = sampled(Structured(), loss=lambda m: m(batch={"x": batch(), "n": 3})["logits"][0].mean())
    assert [(s.site, s.values) for s in sample.sites] == [("act", 16)]
    assert notes == ()


def test_a_backward_pass_twice_and_one_of_gradients():
    model = Net()
    once, _ = sampled(model, batch())

    def twice(m):
        loss = m(batch()).square().mean()
        loss.backward(retain_graph=True)
        return loss

    sample, _ = sampled(model, loss=twice)
    assert sample.sites == once.sites  # ratios and places are the same

    def penalty(m):
        x = batch().requires_grad_()
        y = m(x).square().mean()
        (gradient,) = torch.autograd.grad(y, x, create_graph=True)
        return y + gradient.square().sum()

    model = Net(act=nn.Softplus)
    plain = Net(act=nn.Softplus)
    penalty(plain).backward()
    sample, _ = sampled(model, loss=penalty)
    assert sample.passes == 1
    gradients = [p.grad for p in plain.parameters()]
    assert all(torch.equal(p.grad, w) for p, w in zip(model.parameters(), gradients, strict=True))


def test_sites_that_cannot_be_counted_are_noted_and_do_no_harm():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            F.relu(x.to_sparse())
            F.relu(torch.tensor([-1, 1]))
            y = self.linear(x).view(len(x), -1)
            return F.relu(y, inplace=True)

    sample, notes = sampled(Odd(), batch())
    assert [(s.site, s.values, s.zero_gradient) for s in sample.sites] == [("relu() (3)", 16, None)]
    assert len(notes) == 3
    assert "in place on a view" in notes[-1]


def test_passes_within_function_transforms_are_not_counted():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, x):
        return torch.func.functional_call(model, weights, (x[None],)).sum()

    with sw.Monitor(model, every=1) as monitor:
        torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, batch())
        torch.func.vmap(model[:2])(batch())
        model(batch()).mean().backward()
        monitor.step_done()
    assert [(s.passes, s.sites[0].values) for s in monitor.samples] == [(1, 16)]


def test_outputs_of_fused_layers_that_are_changed_in_place_are_noted():
    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 4), sw.BatchNormPReLU1d(4)

        def forward(self, x):
            y = self.norm(self.linear(x))
            y += x
            return y

    sample, notes = sampled(Added(), batch())
    assert sample.sites[0].zero_gradient is None
    assert "'norm' is changed in place" in notes[0]


def test_a_model_whose_root_is_not_called_says_so():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with sw.Monitor(model, every=1) as monitor:
        model[1](model[0](batch())).sum().backward()
        monitor.step_done()
    assert monitor.samples[0].sites == ()
    assert "called by another way than model(...)" in monitor.notes[0]
    with pytest.raises(KeyError, match="no call site 'x' was seen; there are: none yet"):
        monitor.units("x")


def test_two_monitors_and_one_of_a_part_do_not_disturb_each_other():
    model = Net()
    with sw.Monitor(model, every=1) as one, sw.Monitor(model, every=2) as two, sw.Monitor(model.blocks[0]) as part:
        for _ in range(3):
            model(batch()).mean().backward()
            for monitor in (one, two, part):
                monitor.step_done()
    assert [len(monitor.samples) for monitor in (one, two, part)] == [3, 2, 1]
    assert one.samples[0].sites == two.samples[0].sites
    names = [site.site for site in part.samples[0].sites]
    assert names == ["act", "act (2)", "gelu()"]
    assert [s.positive for s in part.samples[0].sites] == [s.positive for s in one.samples[0].sites[:3]]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_part_that_comes_later_is_seen_and_a_script_is_noted():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with sw.Monitor(model, every=1) as monitor:
        model.append(nn.Sequential(nn.Linear(3, 2), nn.Tanhshrink(), nn.SiLU()))
        model.append(torch.jit.trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.randn(1, 2)))
        model(batch()).mean().backward()
    assert [site.site for site in monitor.samples[0].sites] == ["1", "2.2"]
    assert [note.partition(":")[0] for note in monitor.notes] == ["'3' is a script"]


def test_nested_tensors_within_a_pass_are_no_obstacle() -> None:
    class Ragged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.act, self.down = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)

        def forward(self, rows: list[torch.Tensor]) -> torch.Tensor:
            nested = torch.nested.nested_tensor(rows)
            return self.down(self.act(self.up(torch.nested.to_padded_tensor(nested, 0.0)))).mean()

    model = Ragged()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors")
        with sw.Monitor(model, 1) as monitor:
            model([torch.randn(2, 3), torch.randn(5, 3)]).backward()
    (site,) = monitor.samples[0].sites
    assert (site.site, site.units, site.values) == ("act", 4, 10)


@pytest.mark.parametrize("images", [2, 64])  # few stay with PyTorch's operations, many go to the kernels
def test_our_function_is_a_call_site_whatever_computes_it(images):
    class Hand(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.slopes = nn.Conv2d(1, 4, 3), nn.Parameter(torch.tensor([0.0, 0.1, 0.2, 0.3]))

        def forward(self, x):
            return sw.functional.prelu(self.conv(x), self.slopes).mean()

    model, x = Hand(), torch.randn(images, 1, 12, 12)
    with sw.Monitor(model, 1) as monitor:
        model(x).backward()
    (site,) = monitor.samples[0].sites
    assert (site.site, site.activation, site.units) == ("prelu()", "prelu", 4)
    assert site.positive == pytest.approx((model.conv(x) > 0).float().mean().item())
    assert 0 < site.pass_through < 1


@pytest.mark.parametrize(
    ("register", "site"),
    [(nn.Module.register_forward_hook, "1.relu()"), (nn.Module.register_forward_pre_hook, "relu()")],  # as the caller's
)
def test_an_activation_in_a_hook_of_a_layer_that_is_not_followed_otherwise(register, site):
    def rectify(module, args, *outputs):
        return F.relu(outputs[0] if outputs else args[0])

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU())
    plain, _ = sampled(model, batch())
    with sw.Monitor(model, every=1) as monitor:
        handle = register(model[1], rectify)
        for _ in range(2):
            model(batch()).sum().backward()
            monitor.step_done()
        handle.remove()
        model(batch()).sum().backward()
    sites = [[each.site for each in sample.sites] for sample in (plain, *monitor.samples)]
    assert sites == [["2"], [site, "2"], [site, "2"], ["2"]]
