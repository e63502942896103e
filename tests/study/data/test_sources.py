"""Every source of images: the data that it loads, and its refusals."""

import gzip
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import _fashion_mnist as fashion
from slopewise.study.data import load_data
from slopewise.study.data._picture import PictureMode, opened, to_pixels

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    data = load_data(DataSpec())
    assert tuple(data.train_images.shape[1:]) == (1, 8, 8)
    assert len(data.train_targets) + len(data.test_targets) == 1797
    together = torch.cat([data.train_targets, data.test_targets]).bincount()
    assert together.tolist() == np.bincount(load_digits().target).tolist()
    shares = data.test_targets.bincount() / together
    assert shares.min() > 0.44
    assert shares.max() < 0.46
    assert not data.flip
    everything = data.train_images[torch.arange(len(data.train_targets))]
    assert everything.mean().abs() < 1e-5
    assert everything.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_the_test_set_is_the_same_whatever_the_subset() -> None:
    whole, part = load_data(DataSpec()), load_data(DataSpec(train_size=200))
    assert torch.equal(whole.test_targets, part.test_targets)
    assert part.train_targets.bincount().tolist() == [20] * 10
    assert whole.digest != part.digest


# Fashion-MNIST


def write_idx(path: Path, array: np.ndarray, *, zipped: bool = False) -> None:
    content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if zipped else content)


def write_fashion(folder: Path, *, zipped: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        suffix = ".gz" if zipped else ""
        write_idx(
            folder / f"{part}-images-idx3-ubyte{suffix}", numbers.integers(0, 256, (count, 28, 28)), zipped=zipped
        )
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(count) % 10, zipped=zipped)


@pytest.mark.parametrize("zipped", [False, True])
def test_fashion_mnist_reads_idx_files(tmp_path: Path, zipped: bool) -> None:
    write_fashion(tmp_path, zipped=zipped)
    data = load_data(DataSpec(source="fashion-mnist", path=str(tmp_path)))
    assert tuple(data.train_images.shape) == (40, 1, 28, 28)
    assert data.test_targets.tolist() == [k % 10 for k in range(20)]
    assert data.flip
    expected = np.random.default_rng(0).integers(0, 256, (40, 28, 28))
    expected = (expected - expected.mean()) / expected.std()
    assert np.allclose(data.train_images[torch.arange(40)][:, 0].numpy(), expected, atol=1e-5)


def test_fashion_mnist_is_found_in_the_cache_and_named_when_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion, "_DEBIAN", tmp_path / "debian")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DataError) as caught:
        load_data(DataSpec(source="fashion-mnist"))
    for place in ("data.path", str(tmp_path / "debian"), str(tmp_path / "cache")):
        assert place in str(caught.value)
    write_fashion(tmp_path / "cache" / "slopewise" / "fashion-mnist")
    assert len(load_data(DataSpec(source="fashion-mnist")).train_targets) == 40


def test_fashion_mnist_of_the_debian_package_is_the_published_one() -> None:
    if not DEBIAN.is_dir():
        if os.environ.get("CI"):
            pytest.fail("CI needs the Debian package dataset-fashion-mnist")
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    data = load_data(DataSpec(source="fashion-mnist", train_size=1000))
    assert data.train_targets.bincount().tolist() == [100] * 10
    assert data.test_targets.bincount().tolist() == [1000] * 10
    images = fashion.read_idx(DEBIAN / "train-images-idx3-ubyte.gz")
    assert tuple(images.shape) == (60000, 28, 28)
    assert images.double().mean().item() / 255 == pytest.approx(0.2860, abs=1e-4)  # the published mean


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abc", "is cut short or too long"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00\x00\x00\x00", "is not an IDX file of unsigned bytes"),
        (b"", "is not an IDX file"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DataError, match=message):
        fashion.read_idx(tmp_path / "f")
    (tmp_path / "f.gz").write_bytes(gzip.compress(b"x" * 100)[:20])
    with pytest.raises(DataError, match="cannot read"):
        fashion.read_idx(tmp_path / "f.gz")


# A folder of images


def write_folder(root: Path, *, count: int = 10, mode: str = "RGB", seed: int = 0) -> Path:
    numbers = np.random.default_rng(seed)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for k in range(count):
            size = (12 + k, 9, 3) if mode == "RGB" else (12 + k, 9)
            image = Image.fromarray(numbers.integers(0, 256, size).astype(np.uint8), mode=None)
            image.save(root / label / f"{k}.{'png' if k % 2 else 'jpg'}")
    return root


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_a_folder_is_read_resized_and_split(tmp_path: Path, mode: str, channels: int) -> None:
    root = write_folder(tmp_path / "pets", mode=mode)
    data = load_data(DataSpec(source=str(root), image_size=(16, 8)))
    assert tuple(data.train_images.shape) == (16, channels, 16, 8)
    assert data.test_targets.tolist() == [0, 0, 1, 1]
    assert data.classes == ("cat", "dog")


def test_train_and_test_folders_are_kept_apart(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", count=3)
    write_folder(tmp_path / "test", count=2, seed=1)
    data = load_data(DataSpec(source=str(tmp_path)))
    assert (len(data.train_targets), len(data.test_targets)) == (6, 4)
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "wolf")
    with pytest.raises(DataError, match="train and test differ in classes: dog, wolf"):
        load_data(DataSpec(source=str(tmp_path)))


def test_corrupt_images_are_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets")
    whole = (root / "cat" / "3.png").read_bytes()
    (root / "cat" / "3.png").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "2.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError) as caught:
        load_data(DataSpec(source=str(root)))
    assert "cat/3.png" in str(caught.value)
    assert "dog/2.jpg" in str(caught.value)


def test_hidden_files_and_directories_are_no_images_and_capitals_are(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", count=5)
    (root / "cat" / "._0.jpg").write_bytes(b"a resource fork")
    (root / "cat" / "album.png").mkdir()
    (root / ".cache").mkdir()
    (root / "cat" / "0.jpg").rename(root / "cat" / "0.JPG")
    data = load_data(DataSpec(source=str(root)))
    assert len(data.train_targets) + len(data.test_targets) == 10


def test_parts_of_a_data_set_are_not_taken_for_classes(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", count=3)
    write_folder(tmp_path / "val", count=3)
    with pytest.raises(DataError, match=r"holds train, val, which are parts of a data set and no classes"):
        load_data(DataSpec(source=str(tmp_path)))


def test_one_grey_picture_does_not_make_the_rest_grey(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets")
    Image.linear_gradient("L").save(root / "cat" / "0.jpg")
    assert load_data(DataSpec(source=str(root))).in_channels == 3


@pytest.mark.parametrize(("orientation", "size"), [(1, (40, 40)), (6, (20, 60))])
def test_large_jpegs_are_decoded_small_and_look_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int, size: tuple[int, int]
) -> None:
    from PIL import JpegImagePlugin

    rows, columns = np.mgrid[0:375, 0:500]
    waves = np.stack([rows / 375, columns / 500, np.sin(rows / 30) * np.cos(columns / 40) / 2 + 0.5], axis=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((waves * 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95, exif=exif)
    decoded: list[tuple[int, int]] = []
    load = JpegImagePlugin.JpegImageFile.load
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", lambda self: (load(self), decoded.append(self.size))[0])
    with opened(tmp_path / "a.jpg") as image:
        pixels = to_pixels(image, PictureMode(3, "8 bits"), size=size)
    whole = Image.fromarray((waves * 255).astype(np.uint8))
    whole = whole.transpose(Image.Transpose.ROTATE_270) if orientation == 6 else whole
    expected = np.asarray(whole.resize(size[::-1], Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(pixels.numpy().astype(int) - expected).max() <= 8
    assert np.abs(pixels.numpy().astype(int) - expected).mean() < 1
    assert decoded[0] == ((125, 94) if orientation == 1 else (250, 188))
    wide, high = decoded[0] if orientation == 1 else decoded[0][::-1]
    assert wide >= 2 * size[1]
    assert high >= 2 * size[0]


def test_a_folder_called_digits_does_not_hide_the_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert len(load_data(DataSpec(source="digits")).test_targets) == 808


def test_a_folder_too_small_for_a_test_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no test set"):
        load_data(DataSpec(source=str(write_folder(tmp_path / "pets", count=1))))


def test_folders_without_what_is_needed_are_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets")
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="class 'empty' has no picture"):
        load_data(DataSpec(source=str(root)))
    with pytest.raises(DataError, match="has no directories"):
        load_data(DataSpec(source=str(root / "empty")))
    with pytest.raises(DataError, match="is not a folder"):
        load_data(DataSpec(source="folder", path=str(tmp_path / "absent")))
    with pytest.raises(DataError, match="say which folder"):
        load_data(DataSpec(source="folder"))
    with pytest.raises(DataError, match="unknown data 'absent', which is no folder"):
        load_data(DataSpec(source="absent"))


# Arrays


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(0)
    return {
        "x_train": numbers.random((20, 8, 8, 3), dtype=np.float32),
        "y_train": np.arange(20) % 2,
        "x_test": numbers.random((6, 8, 8, 3), dtype=np.float32),
        "y_test": np.arange(6) % 2,
    } | changes


def test_an_npz_file_is_read_whatever_the_channel_axis(tmp_path: Path) -> None:
    np.savez(tmp_path / "last.npz", **arrays())
    last = load_data(DataSpec(source=str(tmp_path / "last.npz")))
    first = {k: v.transpose(0, 3, 1, 2) if k.startswith("x") else v for k, v in arrays().items()}
    np.savez(tmp_path / "first.npz", **first)
    other = load_data(DataSpec(source=str(tmp_path / "first.npz")))
    assert tuple(last.train_images.shape) == (20, 3, 8, 8)
    assert last.digest == other.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.full((20, 8, 8, 3), np.nan, np.float32)}, "20 of 20 training images hold NaN or infinity"),
        ({"y_train": np.arange(20) % 2 * 1.5}, "labels are float64 such as 1.5, but must be integers"),
        ({"y_train": np.arange(19) % 2}, "20 training images but 19 labels"),
        ({"y_train": np.zeros(20, np.int64)}, "no training image of class '1': the test set has some; if"),
        ({"y_train": np.arange(20) % 2, "y_test": np.arange(6) % 4}, "no training image of classes 2, 3: the test set"),
        ({"y_train": np.arange(20) % 2 * 2, "y_test": np.arange(6) % 2 * 2}, "of class '1': add some, or leave the"),
        ({"x_train": np.zeros((8, 8, 20), np.uint8)}, "must be one label an image: the images must lie along the"),
        ({"x_train": np.zeros((20, 432), np.uint8)}, "perhaps as (-1, 3, 12, 12)"),
        ({"x_train": np.zeros((20, 441), np.uint8)}, "perhaps as (-1, 21, 21)"),
        ({"y_test": np.array([0, 1, -1, 0, 0, 0])}, "test labels run from -1 to 1"),
        ({"x_test": np.zeros((6, 8, 9, 3), np.float32)}, "different shapes, (3, 8, 8) and (3, 8, 9)"),
        ({"x_train": np.full((20, 8, 8, 3), 1e300)}, "hold NaN or infinity"),
        ({"x_test": np.zeros((0, 8, 8, 3)), "y_test": np.zeros(0, np.int64)}, "no test images"),
        ({"x_train": np.zeros((20, 8, 8), np.complex64)}, "training images are torch.complex64"),
        ({"y_train": np.zeros(20, np.int64), "y_test": np.zeros(6, np.int64)}, "there is 1 class"),
        ({"x_train": np.zeros((20, 8), np.float32)}, "training images are each of shape (8,)"),
    ],
)  # fmt: skip
def test_bad_arrays_are_refused(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays(**changes))
    with pytest.raises(DataError, match=re.escape(message)):
        load_data(DataSpec(source=str(tmp_path / "a.npz")))


def test_files_that_are_no_archives_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"not a zip")
    with pytest.raises(DataError, match="cannot read"):
        load_data(DataSpec(source=str(tmp_path / "a.npz")))
    np.savez(tmp_path / "b.npz", x_train=np.zeros(3))
    with pytest.raises(DataError, match="has no array y "):
        load_data(DataSpec(source=str(tmp_path / "b.npz")))
    with pytest.raises(DataError, match="cannot read"):
        load_data(DataSpec(source="npz", path=str(tmp_path / "absent.npz")))


# The user's own

USERS = """
import numpy as np, torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

def tensors(count=20):
    return tuple(TensorDataset(torch.rand(count, 1, 8, 8), torch.arange(count) % 2) for _ in range(2))

class Pictures(Dataset):
    classes = ["ant", "bee"]
    def __init__(self, kind, broken_at=None, seed=0): self.kind, self.broken_at, self.seed = kind, broken_at, seed
    def __len__(self): return 10
    def __getitem__(self, i):
        if i >= 10: raise IndexError
        if i == self.broken_at: raise OSError("disk on fire")
        array = np.random.default_rng([self.seed, i]).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        return {"pil": Image.fromarray, "array": lambda a: a,
                "tensor": lambda a: torch.from_numpy(a).permute(2, 0, 1)}[self.kind](array), i % 2

def pictures(kind): return Pictures(kind), Pictures(kind, seed=1)
def broken(): return Pictures("pil", broken_at=7), Pictures("pil")
def one(): return Pictures("pil")
def one_pair(): return np.zeros((9, 8, 8)), np.arange(9) % 3
def four(): return (*one_pair(), *one_pair())
def by_name(): return {"train": Pictures("pil"), "test": Pictures("pil")}
def lists(): return tuple([np.zeros((9, 8, 8)).tolist(), [0, 1, 2] * 3] for _ in range(2))
def raising(): raise KeyError("no such bucket")
def empty(): return TensorDataset(torch.zeros(0, 1, 8, 8), torch.zeros(0)), Pictures("pil")
def stream(): return iter([]), iter([])
"""


def test_a_users_own_data(user_module: Callable[[str, str], str]) -> None:
    name = user_module("user_data", USERS)
    assert len(load_data(DataSpec(source=f"{name}:tensors", options={"count": 12})).train_targets) == 12
    kinds = [load_data(DataSpec(source=f"{name}:pictures", options={"kind": k})) for k in ("pil", "array", "tensor")]
    assert len({data.digest for data in kinds}) == 1
    assert kinds[0].classes == ("ant", "bee")
    lazy = load_data(DataSpec(source=f"{name}:pictures", options={"kind": "pil"}, memory_gib=1e-7))
    index = torch.arange(10)
    assert torch.allclose(lazy.train_images[index], kinds[0].train_images[index])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raising", "raised KeyError: 'no such bucket'"),
        ("broken", "reading item 7 of the training set raised OSError: disk on fire"),
        ("one", "must return two data sets (train, test), not Pictures"),
        ("one_pair", "not images and labels (ndarray (9, 8, 8), ndarray (9,)): return ((x_train, y_train), (x_test"),
        ("four", "ndarray (9,)), which are 4: return ((x_train, y_train), (x_test, y_test))"),
        ("by_name", "not dict with 'train', 'test': return the two in a tuple"),
        ("lists", "is [nested lists 9 x 8 x 8 of float, [int, int, int, int, int, int, ...]]: make arrays of the two"),
        ("empty", "no training images"),
        ("stream", "has no items by number"),
        ("absent", "has no 'absent'"),
    ],
)
def test_a_users_broken_data_are_refused(user_module: Callable[[str, str], str], function: str, message: str) -> None:
    name = user_module("user_data", USERS)
    with pytest.raises((DataError, Exception), match=re.escape(message)) as caught:
        load_data(DataSpec(source=f"{name}:{function}"))
    assert type(caught.value).__name__ in {"DataError", "SpecError"}


def test_a_picture_unlike_the_sample_has_all_read_in_its_mode(tmp_path: Path) -> None:
    """Coloured pictures that no sample of headers meets, among grey ones."""
    numbers = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(100):
            shape = (4, 4, 3) if number == 1 else (4, 4)
            Image.fromarray(numbers.integers(0, 256, shape).astype(np.uint8)).save(tmp_path / name / f"{number:03}.png")
    data = load_data(DataSpec(source="folder", path=str(tmp_path), image_size=(4, 4), memory_gib=2e-5))
    assert data.facts()["shape"] == [3, 4, 4]
    assert len(data.train_targets) + len(data.test_targets) == 200
    assert "colour" in data.reading
