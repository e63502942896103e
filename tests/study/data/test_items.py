"""Data sets of users: the forms of an item, and the properties that all items must share."""

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import DataWarning, ImageData, TargetKind, load_data


class Items(Dataset[Any]):
    """A list as a data set, with names of classes if given."""

    def __init__(self, items: list[Any], classes: Any = None) -> None:
        self.items = items
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ImageData]:
    def load(train: Any, test: Any, kind: TargetKind = "labels", **spec: Any) -> ImageData:
        module = types.ModuleType("own_data")
        module.sets = lambda: (train, test)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "own_data", module)
        return load_data(DataSpec.model_validate({"source": "own_data:sets", **spec}), kind)

    return load


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def both(make: Callable[[int], Any], **classes: Any) -> tuple[Items, Items]:
    return Items([make(i) for i in range(12)], **classes), Items([make(i) for i in range(12, 18)], **classes)


class Sample(NamedTuple):
    image: Any
    target: int


@pytest.mark.parametrize(
    "make",
    [
        lambda i: Sample(noise(i, 8, 9, 3), i % 2),
        lambda i: [noise(i, 8, 9, 3), np.int64(i % 2)],
        lambda i: (torch.from_numpy(noise(i, 8, 9, 3)).permute(2, 0, 1), torch.tensor([i % 2])),
        lambda i: (noise(i, 8, 9, 3)[::-1], bool(i % 2)),
        lambda i: (Image.fromarray(noise(i, 8, 9, 3)), float(i % 2)),
        lambda i: (noise(i, 8, 9, 3).astype(">u2"), [1 - i % 2, i % 2]),
    ],
)
def test_items_of_any_form_are_the_same_images(load: Callable[..., ImageData], make: Callable[[int], Any]) -> None:
    data = load(*both(make))
    assert data.facts()["shape"] == [3, 8, 9]
    assert data.train_targets.tolist() == [0, 1] * 6


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"img": noise(0, 8, 8), "fine_label": 3}, r'\(item\["img"\], item\["fine_label"\]\)'),
        ({"pixel_values": noise(0, 8, 8), "labels": 3}, r'\(item\["pixel_values"\], item\["labels"\]\)'),
        ((1, noise(0, 8, 8)), "in the wrong order"),
        ((noise(0, 8, 8), None), r"\(ndarray \(8, 8\), None\): a label must be an integer class"),
        ((noise(0, 8, 8), Image.new("L", (8, 8))), "Pillow image L 8 x 8.*segmentation"),
        (("a/b.png", 1), "open the file"),
        (([[1, 2], [3, 4]], 1), "must be a tensor, an array or a Pillow image"),
        ((noise(0, 9, 128), 1), r'may be 9 channels of a series.*data\.layout = "HW"'),
        ((noise(0, 2, 8, 8, 8, 1), 1), "videos or more"),
        (noise(0, 8, 8), r"ndarray \(8, 8\): return \(image, label\)"),
        ((noise(0, 8, 8).astype(object), 1), "must be real numbers"),
        ((np.ma.masked_less(noise(0, 8, 8), 9), 1), "masked pixels"),
    ],
)
def test_items_that_are_no_image_and_label_are_described(load: Callable[..., ImageData], item: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(Items([item] * 4), Items([item] * 2))


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ((noise(5, 8, 8).astype(np.int16), 1), "item 3 of the training set is int16 HW, item 0 is uint8 HW"),
        ((noise(5, 9, 8), 1), "item 3 of the training set is an image of 9 x 8 with 1 channel, item 0 one of 8 x 8"),
        ((noise(5, 8, 8, 3), 1), "8 x 8 with 3 channels"),
        ((Image.fromarray(noise(5, 8, 8)), 1), "item 3 of the training set is 8 bits, item 0 is uint8 HW"),
        ((noise(5, 8, 8), [0, 1]), r"the label of item 3 of the training set is \[int, int\], that of item 0 is int"),
    ],
)
def test_an_item_unlike_the_first_is_named(load: Callable[..., ImageData], odd: Any, words: str) -> None:
    train, test = both(lambda i: (noise(i, 8, 8), i % 2))
    train.items[3] = odd
    with pytest.raises(DataError, match=words):
        load(train, test)


def test_grey_pictures_among_coloured_ones_and_deep_ones_among_shallow(load: Callable[..., ImageData]) -> None:
    train, test = both(lambda i: (Image.fromarray(noise(i, 8, 8, *[3] * (i % 3 == 1))), i % 2))
    for memory in (2.0, 1e-9):
        data = load(train, test, memory_gib=memory)
        first = data.train_images[torch.tensor([0])][0]
        assert first.shape == (3, 8, 8)
        red = (noise(0, 8, 8) - noise(0, 8, 8).mean()) / noise(0, 8, 8).std()
        standard = (first[0] - first[0].mean()) / first[0].std(correction=0)
        assert np.allclose(standard.numpy(), red, atol=1e-4)
    train.items[2] = (Image.fromarray(noise(2, 8, 8).astype(np.uint16)), 0)
    with pytest.raises(DataError, match="item 2 of the training set is 16 bits, item 0 is 8 bits"):
        load(train, test)


def test_items_that_change_get_a_note(load: Callable[..., ImageData]) -> None:
    numbers = np.random.default_rng(0)

    class Augmented(Items):
        def __getitem__(self, index: int) -> Any:
            return numbers.random((8, 8)), index % 2

    with pytest.warns(DataWarning, match="item 0 of the training set is another image when it is read again"):
        load(Augmented([0] * 12), both(lambda i: (noise(i, 8, 8) / 255, i % 2))[1])


def test_names_of_classes_are_found_behind_subsets(load: Callable[..., ImageData]) -> None:
    train, test = both(lambda i: (noise(i, 8, 8), i % 2), classes=["ant", "bee"])
    assert load(Subset(train, range(10)), ConcatDataset([test, test][:1])).classes == ("ant", "bee")
    assert load(train, test, classes=["A", "B"]).classes == ("A", "B")
    test.classes = ["bee", "ant"]
    with pytest.raises(DataError, match="name their classes differently \\('ant' and 'bee'\\)"):
        load(train, test)
    with pytest.raises(DataError, match="joined by ConcatDataset name their classes differently"):
        load(ConcatDataset([train, test]), train)
    train.classes = test.classes = ["ant"]
    with pytest.raises(DataError, match="names 1 classes, but labels run to 1"):
        load(train, test)
    train.classes = 2
    assert load(train, train.__class__(test.items)).classes == ("0", "1")


def test_text_labels_need_the_order_of_classes(load: Callable[..., ImageData]) -> None:
    sets = both(lambda i: (noise(i, 8, 8), ["cat", "dog"][i % 2]))
    with pytest.raises(DataError, match=r"training labels are text \('cat', 'dog', ...\)"):
        load(*sets)
    assert load(*sets, classes=["dog", "cat"]).train_targets.tolist() == [1, 0] * 6


def test_arrays_will_do_for_a_data_set(load: Callable[..., ImageData]) -> None:
    x, y = noise(0, 12, 8, 8, 3), np.arange(12) % 2
    other = noise(1, 6, 8, 8, 3), y[:6]
    pairs = load((x, y), other)
    tensors = load(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), [torch.from_numpy(part) for part in other])
    assert pairs.digest == tensors.digest
    assert pairs.facts()["reading"] == "arrays of uint8, HWC"

    class Halved(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            image, label = super().__getitem__(index)
            return image // 2, label

    halved = load(*(Halved(torch.from_numpy(a), torch.from_numpy(b)) for a, b in ((x, y), other)))
    assert halved.digest != pairs.digest  # what a class of one's own does to its tensors counts


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([(torch.rand(3, 8, 8), 0)])

    def __len__(self) -> int:
        return 1


def test_sets_without_items_by_number_are_refused(load: Callable[..., ImageData]) -> None:
    train, test = both(lambda i: (noise(i, 8, 8), i % 2))
    with pytest.raises(DataError, match="is Stream, which has no items by number"):
        load(train, Stream())
    with pytest.raises(DataError, match=r"is a DataLoader: return its data set, loader\.dataset"):
        load(DataLoader(train), test)


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def palette(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    return image


@pytest.mark.parametrize(
    ("make", "mask"),
    [
        (lambda i: noise(i, 8, 9, 3), lambda m: m),
        (lambda i: Image.fromarray(noise(i, 8, 9, 3)), palette),
        (lambda i: torch.from_numpy(noise(i, 8, 9, 3)).permute(2, 0, 1), lambda m: torch.from_numpy(m)[None].long()),
        (lambda i: noise(i, 8, 9, 3), lambda m: m[..., None].astype(np.float32)),
    ],
)
def test_masks_of_items_are_numbers_of_classes(load: Callable[..., ImageData], make: Any, mask: Any) -> None:
    data = load(*both(lambda i: (make(i), mask(numbers(i, 8, 9)))), kind="masks")
    assert data.facts()["shape"] == [3, 8, 9]
    assert np.array_equal(data.train_targets[torch.arange(12)].numpy(), [numbers(i, 8, 9) for i in range(12)])


def test_a_mask_tells_the_axes_of_its_item(load: Callable[..., ImageData]) -> None:
    data = load(*both(lambda i: (noise(i, 8, 9, 7), numbers(i, 8, 9, 7))), kind="masks")
    assert data.facts()["shape"] == [1, 8, 9, 7]


@pytest.mark.parametrize("form", [lambda a: a, Image.fromarray, torch.from_numpy])
def test_images_of_items_may_be_targets(load: Callable[..., ImageData], form: Any) -> None:
    data = load(*both(lambda i: (form(noise(i, 8, 9)), form(noise(i + 50, 16, 18)))), kind="images")
    assert data.data_range == 255
    expected = np.array([noise(i + 50, 16, 18) for i in range(12)]) / 255
    assert np.allclose(data.train_targets[torch.arange(12)][:, 0].numpy(), expected)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("values", float),
        ("values", lambda i: torch.tensor([i, 2.0 * i])),
        ("multilabel", lambda i: [i % 2, 1, i % 3 == 0]),
        ("multilabel", lambda i: np.array([i % 2, 1 - i % 2])),
    ],
)
def test_numbers_of_items_are_rows(load: Callable[..., ImageData], kind: TargetKind, target: Any) -> None:
    data = load(*both(lambda i: (noise(i, 8, 9), target(i))), kind=kind)
    expected = np.array([np.asarray(target(i)).reshape(-1) for i in range(12)], dtype=np.float32)
    assert np.array_equal(data.train_targets.numpy(), expected)


@pytest.mark.parametrize("kind", ["masks", "images"])
def test_arrays_and_items_of_targets_are_the_same(load: Callable[..., ImageData], kind: TargetKind) -> None:
    parts = [(noise(s, n, 8, 9), numbers(s, n, 8, 9)) for s, n in ((0, 12), (1, 6))]
    whole = load(*parts, kind=kind)
    items = load(*(Items(list(zip(*part, strict=True))) for part in parts), kind=kind)
    assert torch.equal(whole.train_targets[torch.arange(12)], items.train_targets[torch.arange(12)])
    assert whole.digest == items.digest


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        ("masks", {"image": 0, "seg_map": 1}, r'return \(image, mask\), .* \(item\["image"\], item\["seg_map"\]\)'),
        ("masks", None, r"None\): return \(image, mask\), with one number a pixel"),
        ("masks", Image.fromarray(noise(0, 8, 9, 3)), "the mask of item 3 .* is a picture of 72 colours"),
        ("masks", numbers(0, 9, 9), r"the mask of item 3 of the training set is \(9, 9\), that of item 0 \(8, 9\)"),
        ("images", "a.png", "the target of item 3 of the training set is 'a.png', but must be a tensor"),
        ("images", noise(0, 9, 9), r"the target of item 3 of the training set is \(1, 9, 9\), that of item 0 \(1, 8"),
        (
            "values",
            [1.0, 2.0],
            r"the target of item 3 of the training set is \[float, float\], that of item 0 is float",
        ),
    ],
)
def test_a_target_unlike_the_first_is_named(
    load: Callable[..., ImageData], kind: TargetKind, target: Any, message: str
) -> None:
    usual = {"masks": lambda i: numbers(i, 8, 9), "images": lambda i: noise(50 + i, 8, 9), "values": float}[kind]
    train, test = both(lambda i: (noise(i, 8, 9), usual(i)))
    train.items[3] = target if isinstance(target, dict) else (noise(3, 8, 9), target)
    with pytest.raises(DataError, match=message):
        load(train, test, kind=kind)


def test_images_and_masks_alone_are_no_two_sets(load: Callable[..., ImageData]) -> None:
    with pytest.raises(
        DataError, match=r"must return two data sets .*: return \(\(x_train, y_train\), \(x_test, y_test"
    ):
        load(noise(0, 9, 8, 8), numbers(0, 9, 8, 8), kind="masks")
