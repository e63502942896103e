"""The page on conversion, followed from top to bottom: its code runs, and prints what the page shows."""

import contextlib
import inspect
import io
import re
import shlex
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import slopewise as sw
from slopewise.errors import ConversionError

PAGE = Path(__file__).parents[2] / "docs" / "convert.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def page(tmp_path, monkeypatch, user_module):
    """Run the page's Python in a folder with its files; return the names it defined and each block's output."""
    monkeypatch.chdir(tmp_path)
    codes = [code for kind, code in BLOCKS if kind == "python"]
    user_module("mynet", next(code for code in codes if code.startswith("# mynet.py")))
    torch.manual_seed(0)
    names, printed = {}, []
    for code in codes:
        if not code.startswith("# mynet.py"):
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(code, str(PAGE), "exec"), names)  # the page's own code
            printed.append(output.getvalue())
    return names, printed


def test_the_code_of_the_page_runs_and_prints_what_it_shows(page):
    names, printed = page
    (table,) = (text for kind, text in BLOCKS if not kind)
    assert printed[0] == table
    shown = [line for _, code in BLOCKS for line in re.findall(r"^# (\[\('relu_1.*)$", code, re.MULTILINE)]
    assert len(shown) == 2
    assert all(line + "\n" in printed for line in shown)
    assert isinstance(names["model"], names["Net"])
    assert "self.relu_1(self.stem(x))" in inspect.getsource(type(names["model"]).forward)
    assert names["fused"].proof.output.relative < 1e-5
    assert names["folding"].change.relative < 1e-4
    assert Path("net.onnx").exists()


def test_both_ways_to_start_from_a_checkpoint_are_the_same(page):
    names, _ = page
    net, images = names["net"], names["images"]
    before = sw.convert(net, images, init=0.0).model.eval()
    after = sw.convert(names["Net"](10, 3), images, init=0.0)
    after.load_state_dict(torch.load("best.pt", weights_only=True))
    assert torch.equal(before(images), after.model.eval()(images))
    assert torch.equal(net.eval()(images), before(images))


@pytest.mark.slow
def test_the_commands_of_the_page_run(page, cli, tmp_path):
    assert page
    for number in range(10):
        for split in ("train", "test"):
            folder = tmp_path / "photos" / split / str(number)
            folder.mkdir(parents=True)
            for image in range(8):
                photo = Image.new("RGB", (8, 8), (20 * number, 30 * image, 9))
                photo.putpixel((image, len(split)), (255, 255, 255))  # neither constant nor in both splits
                photo.save(folder / f"{image}.png")
    study, looking = (text.replace("~", str(tmp_path)) for kind, text in BLOCKS if kind == "sh")
    listed = cli(*shlex.split(study)[1:], "--dry-run")
    assert listed.returncode == 0, listed.stderr
    assert "prelu_channel_0" in listed.stdout + listed.stderr
    inspected = cli(*shlex.split(looking)[1:])
    assert inspected.returncode == 0, inspected.stderr
    assert "48 slopes in 3 layers" in inspected.stdout


class Branches(nn.Module):
    """A function, and a module, in a branch that the example does not take."""

    def __init__(self):
        super().__init__()
        self.conv, self.never, self.runs = nn.Conv2d(3, 4, 1), nn.ReLU(), []

    def forward(self, x, deep=False):
        self.runs.append(deep)
        x = F.relu(self.conv(x))
        return self.never(F.relu(x - 1)) if deep else x


IMAGES = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))


def test_a_function_in_a_branch_that_is_not_taken_is_not_seen_unless_the_example_takes_it():
    conversion = sw.convert(Branches(), IMAGES)
    assert [site.name for site in conversion.sites] == ["relu_1"]
    assert [refusal.name for refusal in conversion.skipped] == ["never"]
    deep = sw.convert(Branches(), {"x": IMAGES, "deep": True})
    assert len(deep.sites) == 3
    assert not deep.skipped


@pytest.mark.parametrize(("fuse", "runs"), [(False, 22), (True, 33)])
def test_hooks_run_as_often_as_the_page_says(fuse, runs):
    net, seen = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), []
    net[0].register_forward_hook(lambda *_: seen.append(1))
    sw.convert(net, IMAGES, fuse=fuse)
    assert len(seen) == runs


def test_a_bound_method_as_a_hook_is_the_copys():
    class Stats:
        def __init__(self):
            self.calls = 0

        def hook(self, *_):
            self.calls += 1

    stats, net = Stats(), nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    net[1].register_forward_hook(stats.hook)
    model = sw.convert(net, IMAGES).model
    before = stats.calls
    model(IMAGES)
    assert stats.calls == before
    (hook,) = model[1]._forward_hooks.values()
    assert hook.__self__ is not stats


def test_low_memory_keeps_less_from_slopes_that_can_be_divided_by():
    net = nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 1))
    images = torch.randn(8, 3, 32, 32)

    def saved_bytes(init, *, low_memory):
        model = sw.convert(net, images, init=init, fuse=True, low_memory=low_memory).model
        own, storages = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

        def keep(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(images).sum().backward()
        return sum(size for pointer, size in storages.items() if pointer not in own)

    assert saved_bytes(0.0, low_memory=True) == saved_bytes(0.0, low_memory=False)
    assert saved_bytes(0.01, low_memory=None) == saved_bytes(0.01, low_memory=True)
    assert saved_bytes(0.01, low_memory=True) < saved_bytes(0.01, low_memory=False)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_modules_are_refused():
    with pytest.raises(ConversionError, match="is a ScriptModule, whose activations cannot"):
        sw.convert(torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())), IMAGES)
