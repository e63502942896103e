"""Folders of pairs: how files find their partners, and what is read from them, against Pillow and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import ImageData, TargetKind, read_data

COUNT = 10


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def classes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def save(path: Path, picture: np.ndarray | Image.Image, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **options)


def palette(numbers: np.ndarray) -> Image.Image:
    """A mask as Pascal VOC stores it: class 1 is shown dark red, class 2 green."""
    image = Image.fromarray(numbers).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    return image


def write(root: Path, *, images: str = "images", masks: str = "masks", form: Any = palette, count: int = COUNT) -> None:
    for i in range(count):
        save(root / images / f"{i:02d}.jpg", noise(i, 12, 14, 3))
        save(root / masks / f"{i:02d}.png", form(classes(i, 12, 14)))


def read(root: Path, kind: TargetKind = "masks", **spec: Any) -> ImageData:
    return read_data(DataSpec(source=str(root), **{"image_size": (12, 14), **spec}), kind)


def every(images: Any) -> np.ndarray:
    return images[torch.arange(len(images))].numpy()


def masks_of(data: ImageData) -> set[bytes]:
    return {mask.astype(np.uint8).tobytes() for part in (data.train_targets, data.test_targets) for mask in every(part)}


ALL = {classes(i, 12, 14).tobytes() for i in range(COUNT)}


@pytest.mark.parametrize(
    "form",
    [
        palette,
        Image.fromarray,
        lambda m: Image.fromarray(np.stack([m] * 3, axis=2)),
        lambda m: Image.fromarray(m.astype(np.uint16)),
        lambda m: Image.merge("LA", [Image.fromarray(m), Image.new("L", (14, 12), 255)]),
    ],
)
def test_masks_are_read_by_number(tmp_path: Path, form: Any) -> None:
    write(tmp_path, form=form)
    data = read(tmp_path)
    assert masks_of(data) == ALL
    assert (len(data.train_targets), len(data.test_targets)) == (8, 2)
    assert data.facts()["shape"] == [3, 12, 14]
    assert data.flip


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("train/images", "train/masks"), ("test/images", "test/masks")),
        (("images/train", "masks/train"), ("images/test", "masks/test")),
        (("Training Set/imgs", "Training Set/labels"), ("testing/img", "testing/annotations")),
        (("images/train/a", "masks/train/a"), ("images/test/b", "masks/test/b")),
    ],
)
def test_parts_lie_above_the_sides_or_in_them(tmp_path: Path, train: tuple[str, str], test: tuple[str, str]) -> None:
    write(tmp_path, images=train[0], masks=train[1])
    write(tmp_path, images=test[0], masks=test[1], count=4)
    data = read(tmp_path)
    assert (len(data.train_targets), len(data.test_targets)) == (10, 4)
    assert np.array_equal(every(data.test_targets), [classes(i, 12, 14) for i in range(4)])


@pytest.mark.parametrize("inside", [True, False])
def test_parts_of_other_names_are_asked_for(tmp_path: Path, inside: bool) -> None:
    for part in ("train", "val"):
        write(
            tmp_path,
            images=f"images/{part}" if inside else f"{part}/images",
            masks=f"masks/{part}" if inside else f"{part}/masks",
        )
    with pytest.raises(DataError, match=r"train, val, which are parts of a data set: say which .*data\.parts="):
        read(tmp_path)
    assert len(read(tmp_path, parts=("train", "val")).test_targets) == COUNT


def test_a_mask_is_resized_by_the_nearest_pixel(tmp_path: Path) -> None:
    write(tmp_path)
    data = read(tmp_path, image_size=(6, 5))
    expected = {
        np.array(Image.fromarray(classes(i, 12, 14)).resize((5, 6), Image.Resampling.NEAREST)).tobytes()
        for i in range(COUNT)
    }
    assert masks_of(data) == expected


def test_image_and_mask_are_turned_by_their_own_exif(tmp_path: Path) -> None:
    write(tmp_path)
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    for i in range(COUNT):
        upright = Image.fromarray(noise(i, 12, 14, 3))
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "images" / f"{i:02d}.jpg", exif=exif)
    assert read(tmp_path).facts()["target_shape"] == [12, 14]


def test_every_file_without_a_partner_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    for i in range(7, 10):
        (tmp_path / "masks" / f"{i:02d}.png").unlink()
    save(tmp_path / "masks" / "99.png", classes(0, 12, 14))
    with pytest.raises(
        DataError,
        match=r"4 files in .* without a partner .*: images/07\.jpg, images/08\.jpg, images/09\.jpg, masks/99\.png$",
    ):
        read(tmp_path)


def test_two_files_of_one_name_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    save(tmp_path / "images" / "03.png", noise(0, 12, 14, 3))
    with pytest.raises(DataError, match=r"images/03\.jpg and images/03\.png in .* differ in their suffix alone"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (noise(0, 12, 14, 3), r"mask '.*03\.png' is a picture of 168 colours, but a mask has one number a pixel"),
        (classes(0, 14, 12), r"mask '.*03\.png' is 14 x 12, but its image '.*03\.jpg' is 12 x 14: bring both"),
        (classes(0, 12, 14) + 7, r"masks hold 0, 1, 2, 7, 8, 9, but classes are numbered 0, 1, ... without a gap"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(tmp_path: Path, mask: np.ndarray, message: str) -> None:
    write(tmp_path)
    save(tmp_path / "masks" / "03.png", mask)
    with pytest.raises(DataError, match=rf"\A[^\n]*{message}"):
        read(tmp_path)


def test_damaged_files_of_both_sides_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    for path in (tmp_path / "images" / "02.jpg", tmp_path / "masks" / "04.png"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"cannot decode '.*02\.jpg'.*cannot decode '.*04\.png'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("pictures", "cats"), "needs images/ and masks/, but the directories with pictures in it are cats, pictures"),
        (
            ("train/images", "test/masks"),
            "train' needs images/ and masks/, but the directories with pictures in it are",
        ),
        ((".", "."), "needs images/ and masks/, but Pillow reads no picture below it|needs images/ and masks/"),
    ],
)
def test_a_folder_without_sides_says_what_is_needed(tmp_path: Path, names: tuple[str, str], message: str) -> None:
    write(tmp_path, images=names[0], masks=names[1])
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_two_directories_for_one_side_are_asked_about(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, masks="labels")
    with pytest.raises(DataError, match=r"each of labels, masks in .* may hold one side of the pairs"):
        read(tmp_path)


@pytest.mark.parametrize("names", [("low", "high"), ("LR_x2", "HR"), ("noisy", "clean"), ("inputs", "targets")])
def test_pairs_of_images_are_cut_into_patches_alike(tmp_path: Path, names: tuple[str, str]) -> None:
    for part, count in (("train", 3), ("test", 2)):
        for i in range(count):
            save(tmp_path / part / names[0] / f"{i}.png", noise(i, 9, 13))
            save(tmp_path / part / names[1] / f"{i}.tif", noise(i + 50, 18, 26, 3))
    data = read(tmp_path, "images", image_size=(4, 6))
    assert data.facts()["shape"] == [1, 4, 6]
    assert data.facts()["target_shape"] == [3, 8, 12]
    inputs, targets = every(data.train_images) * 255, every(data.train_targets) * 255
    assert len(inputs) == len(targets) == 3 * 2 * 2
    places = [(i, y, x) for i in range(3) for y in range(2) for x in range(2)]
    for (i, y, x), image, target in zip(places, inputs, targets, strict=True):
        assert np.allclose(image[0], noise(i, 9, 13)[4 * y : 4 * y + 4, 6 * x : 6 * x + 6])
        larger = noise(i + 50, 18, 26, 3)[8 * y : 8 * y + 8, 12 * x : 12 * x + 12]
        assert np.allclose(target.transpose(1, 2, 0), larger)


def test_patches_of_one_picture_are_in_one_part(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / "noisy" / f"{i}.png", np.full((8, 8), 20 * i, np.uint8) + noise(i, 8, 8) // 16)
        save(tmp_path / "clean" / f"{i}.png", np.full((8, 8), 20 * i, np.uint8) + noise(9 - i, 8, 8) // 16)
    data = read(tmp_path, "images", image_size=4)
    parts = [
        {int(target.mean() * 255 / 20) for target in every(part)} for part in (data.train_targets, data.test_targets)
    ]
    assert not parts[0] & parts[1]
    assert len(data.test_targets) == 2 * 4


def test_deep_pictures_keep_their_levels(tmp_path: Path) -> None:
    deep = [np.random.default_rng(i).integers(0, 65536, (8, 8)).astype(np.uint16) for i in range(20)]
    for i in range(10):
        save(tmp_path / "low" / f"{i}.png", deep[i])
        save(tmp_path / "high" / f"{i}.png", deep[10 + i])
    data = read(tmp_path, "images", image_size=8)
    assert data.data_range == 65535
    levels = {np.rint(image * 65535.0).astype(np.uint16).tobytes() for image in every(data.train_images).astype(float)}
    assert levels <= {image.tobytes() for image in deep[:10]}


def test_deep_targets_of_shallow_pictures_are_brought_to_one_scale(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / "low" / f"{i}.png", noise(i, 8, 8))
        save(tmp_path / "high" / f"{i}.png", noise(i, 8, 8).astype(np.uint16) * 257 + 1 - (noise(i, 8, 8) > 254))
    data = read(tmp_path, "images", image_size=8)
    assert "there are pictures 10 of 16 bits and 10 of 8 bits" in " ".join(data.notes)
    assert np.allclose(every(data.train_images), every(data.train_targets), atol=2 / 65535)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ((8, 8), (16, 24), r"'.*high.*' is 16 x 24, but its input '.*low.*' is 8 x 8: each size of a target"),
        ((4, 4), (8, 8), r"data\.image_size: '.*low.*' of 4 x 4 is smaller than a patch of 8 x 8"),
    ],
)
def test_sizes_that_do_not_fit_are_named(
    tmp_path: Path, low: tuple[int, int], high: tuple[int, int], message: str
) -> None:
    for i in range(6):
        save(tmp_path / "low" / f"{i}.png", noise(i, *low))
        save(tmp_path / "high" / f"{i}.png", noise(i + 9, *high))
    with pytest.raises(DataError, match=message):
        read(tmp_path, "images", image_size=8)


def test_pairs_of_several_factors_are_refused(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "low" / f"{i}.png", noise(i, 8, 8))
        save(tmp_path / "high" / f"{i}.png", noise(i, *([16, 16] if i < 5 else [24, 24])))
    with pytest.raises(DataError, match=r"is 2 times as large as its input, '.*' 3 times: give all pairs one factor"):
        read(tmp_path, "images", image_size=8)


def test_a_folder_has_no_values(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=r"is a folder, which has classes, masks or images as targets: give values in"):
        read(tmp_path, "values")


@pytest.mark.parametrize(
    ("names", "task"), [(("images", "masks"), "segmentation"), (("train/lr", "train/hr"), "restoration")]
)
def test_pairs_are_not_taken_for_two_classes(tmp_path: Path, names: tuple[str, str], task: str) -> None:
    write(tmp_path, images=names[0], masks=names[1])
    if "/" in names[0]:
        write(tmp_path, images=names[0].replace("train", "test"), masks=names[1].replace("train", "test"))
    with pytest.raises(DataError, match=rf"hold files of the same names, so they may be pairs for --task {task}; if"):
        read(tmp_path, "labels")
    classes = tuple(name.rpartition("/")[2] for name in names)
    assert read(tmp_path, "labels", classes=classes).classes == classes


def test_classes_with_the_names_of_sides_are_classes(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / "low" / f"a{i}.png", noise(i, 8, 8))
        save(tmp_path / "high" / f"b{i}.png", noise(i + 50, 8, 8))
    assert read(tmp_path, "labels").classes == ("high", "low")
