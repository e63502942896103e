"""Predictions for photos by a network that a study has kept: they need the study's folder alone."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

import slopewise as sw
from slopewise.cli import app
from slopewise.errors import DataError, DataWarning, SpecError, StoreError
from slopewise.study import Store, Study, load_model, load_predictor, parse_spec
from slopewise.study.data import Preparation, load_data
from slopewise.testing import InProcessEngine

NET = """
from torch import nn

print("loading")

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))
"""


def write_photos(root: Path) -> None:
    """Bright and dark noise in sizes, formats, modes and orientations of all kinds."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 10)):
        for label, level in (("dark", 90), ("light", 140)):
            folder = root / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = generator.integers(12, 40, 2)
                mode = ("RGB", "L", "RGBA", "RGB", "P")[number % 5]
                pixels = generator.normal(level, 60, (height, width, 4 if mode == "RGBA" else 3)).clip(0, 255)
                photo = Image.fromarray(pixels.astype(np.uint8))
                exif = photo.getexif()
                exif[274] = 1 + number % 8
                suffix = "jpg" if number % 5 in (0, 1) else "png"
                (photo if mode == "RGBA" else photo.convert(mode)).save(folder / f"{number}.{suffix}", exif=exif)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose data lay at a relative path; `data` beside it holds them."""
    place = tmp_path_factory.mktemp("first")
    write_photos(place / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        (place / "predict_net.py").write_text(NET)
        study = Study(
            arms="as_is,prelu_channel",
            seeds=1,
            data={"source": "photos", "image_size": [10, 12], "validation_fraction": 0.25},
            model={"name": "predict_net:Net"},
            train={"epochs": 2, "batch_size": 8},
        )
        study.run("study", engine=InProcessEngine(), keep_weights=True)
    return place


@pytest.fixture
def elsewhere(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another working directory, with the study and the test photos, and without the data."""
    shutil.copytree(folder / "study", tmp_path / "study")
    shutil.copytree(folder / "photos/test", tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_the_command_finds_the_stored_test_accuracy_without_the_data(elsewhere: Path) -> None:
    photos = sorted(Path("new").rglob("*.*"))
    for trial in sw.load_study("study").record.trials:
        result = predict("study", *photos, "--arm", trial.arm, "--seed", trial.seed, "--json")
        rows = json.loads(result.stdout)["photos"]
        assert [row["file"] for row in rows] == [str(photo) for photo in photos]
        right = np.mean([row["label"] == photo.parent.name for row, photo in zip(rows, photos, strict=True)])
        assert right == pytest.approx(trial.score("test", "accuracy"), abs=1e-9)
        for row in rows:
            assert row["probability"] == max(row["probabilities"].values())
            assert sum(row["probabilities"].values()) == pytest.approx(1)
    lines = predict("study", *photos[:2], "--arm", "as_is", "--seed", 0).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(map(str, photos[:2]))
    assert all(line.endswith(" %") for line in lines)


def test_photos_are_prepared_to_the_bit_as_in_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    predictor = load_predictor("study", "as_is", 0)
    data = load_data(Study(data={"source": "photos", "image_size": [10, 12]}).spec.data)
    photos = [photo for label in predictor.classes for photo in sorted((folder / "photos/test" / label).iterdir())]
    prepared = torch.cat([predictor.prepare(photo) for photo in photos])
    assert torch.equal(prepared, data.test_images[torch.arange(len(photos))])
    with Image.open(photos[0]) as photo:
        assert torch.equal(predictor.prepare(photo), prepared[:1])
    mean, deviation = (getattr(data.test_images, name) for name in ("mean", "deviation"))
    assert torch.allclose(predictor.prepare(prepared * deviation + mean), prepared, atol=1e-5)


def test_photos_that_come_later_change_nothing(elsewhere: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_predictor("study", "as_is", 0)(["new/dark/1.jpg"])
    for number in range(3):
        Image.new("RGB", (99, 99), "white").save(folder / f"photos/train/dark/later-{number}.png")
    monkeypatch.chdir(folder)
    assert load_predictor("study", "as_is", 0)([elsewhere / "new/dark/1.jpg"]) == before
    for number in range(3):
        (folder / f"photos/train/dark/later-{number}.png").unlink()


def test_random_numbers_are_left_alone(elsewhere: Path) -> None:
    state = torch.get_rng_state()
    assert not load_model("study", "prelu_channel", 0).training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Path("absent.jpg"), r"'absent\.jpg' does not exist"),
        (lambda: Path("new"), "'new' is a folder: name its files"),
        (lambda: Path("study/study.db"), r"cannot decode 'study/study\.db'"),
        (
            lambda: Image.fromarray(np.zeros((8, 8), np.float32)),
            "has pixels of real, and the study",
        ),
        (lambda: torch.zeros(3, 12, 10), r"have shape \(3, 12, 10\), and the study's images \(3, 10, 12\)"),
    ],
)
def test_what_cannot_be_read_is_said(elsewhere: Path, make: Callable[[], object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_predictor("study", "as_is", 0)([make()])


def test_a_colour_photo_for_a_grey_study_warns() -> None:
    facts: dict[str, object] = {"shape": [1, 4, 4], "mean": [0.0], "deviation": [1.0]}
    facts["pictures"] = {"depth": "8 bits", "resizing": "bilinear"}
    with pytest.warns(DataWarning, match="is in colour, and the study's pictures are grey"):
        assert Preparation(facts)(Image.new("RGB", (8, 8), "white")).unique().tolist() == [255]
    facts["pictures"] = {"depth": "8 bits", "resizing": "nearest"}
    with pytest.raises(DataError, match="resized by 'nearest'"):
        Preparation(facts)(Image.new("L", (8, 8)))


def test_a_study_of_no_pictures_takes_pixels(tmp_path: Path) -> None:
    tiny = {"data": {"train_size": 100}, "model": {"options": {"width": 4}}, "train": {"epochs": 1}}
    record = Study(arms="relu", seeds=1, **tiny).run(tmp_path, engine=InProcessEngine(), keep_weights=True).record
    predictor = load_predictor(tmp_path, "relu", 0)
    data = load_data(Study(**tiny).spec.data)
    labels = [int(prediction.label) for prediction in predictor(data.test_images.pixels)]
    right = np.mean(np.array(labels) == data.test_targets.numpy())
    assert right == pytest.approx(record.trials[0].score("test", "accuracy"), abs=1e-9)
    with pytest.raises(DataError, match="were not resized from picture files"):
        predictor([Image.new("L", (8, 8))])


def test_studies_of_earlier_versions_need_their_data(elsewhere: Path, folder: Path) -> None:
    record = sw.load_study("study").record
    later = {"network", "mean", "deviation", "pictures"}
    earlier = {key: value for key, value in record.data.items() if key not in later}
    Store.create("study", parse_spec(record.spec), earlier).close()
    with pytest.raises(DataError, match=rf"'photos' is not a folder in .*{elsewhere.name}"):
        load_model("study", "as_is", 0)
    shutil.copytree(folder / "photos", "photos")
    assert load_predictor("study", "as_is", 0)(["new/dark/1.jpg"])[0].label in ("dark", "light")
    Image.new("RGB", (9, 9)).save("photos/train/dark/later.png")
    assert load_model("study", "as_is", 0) is not None
    with pytest.raises(StoreError, match="earlier version, which stored no mean and deviation"):
        load_predictor("study", "as_is", 0)


def test_other_tasks_and_functions_are_refused(tmp_path: Path) -> None:
    tiny = {"data": {"train_size": 40}, "train": {"epochs": 1}, "model": {"options": {"width": 4, "levels": 1}}}
    study = Study(arms="relu", seeds=1, task={"kind": "segmentation"}, **tiny)
    study.run(tmp_path, engine=InProcessEngine(), keep_weights=True)
    with pytest.raises(SpecError, match="is segmentation, and only classification predicts a class"):
        load_predictor(tmp_path, "relu", 0)
    assert load_model(tmp_path, "relu", 0)(torch.zeros(1, 1, 32, 32)).ndim == 4


def test_a_module_that_is_not_there_is_named_with_where_it_is_looked_for(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "predict_net", raising=False)
    with pytest.raises(SpecError, match=rf"No module named 'predict_net': its file must lie .*{elsewhere.name}"):
        load_predictor("study", "as_is", 0)


def test_a_network_that_has_changed_is_said_to(elsewhere: Path, user_module: Callable[[str, str], str]) -> None:
    name = user_module("predict_net", NET.replace("in_channels, 8", "in_channels, 9").replace("(8", "(9"))
    words = "the network is no longer the one that the study trained: .*size mismatch for body.0.weight"
    with pytest.raises(StoreError, match=words) as caught:
        load_model("study", "as_is", 0)
    assert "\n" not in str(caught.value)
    result = predict("study", "new/dark/1.jpg", "--arm", "as_is", "--seed", 0)
    assert isinstance(result.exception, StoreError)  # which the program prints in one line
    del sys.modules[name]


def test_a_study_that_has_ended_says_that_its_data_were_not_read(
    elsewhere: Path, folder: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    shutil.copytree(folder / "photos", "photos")
    flags = "--data photos --seeds 1 --epochs 1 --arms relu --image-size 6 --batch-size 4 --set model.options.width=4"
    command = ["run", *flags.split(), "--set", "data.validation_fraction=0.25", "--out", "again"]
    command += ["--engine", "slopewise.testing:InProcessEngine"]
    assert "were not read" not in cli(*command).stderr
    ended = cli(*command)
    assert "nothing was trained, and the data were not read" in ended.stderr
    page = Path("again/report.html").read_text()
    assert "cnn on photos: relu" in page
    assert "resized from mostly" in page.replace("\N{NO-BREAK SPACE}", " ")
