"""Trees of folders: which directories are parts, which are classes, and which files are pictures."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data._classes import natural_key
from slopewise.study.data._discover import Files, discover
from slopewise.study.data._parts import part_roles


def plant(root: Path, folders: Iterable[str], count: int = 6) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("L", (2, 2), i).save(root / folder / f"{i}.bmp")
    return root


def files_below(root: Path, **spec: object) -> Files:
    return discover(DataSpec.model_validate({"source": "folder", "path": str(root), **spec}))


def under(parts: Iterable[str], classes: str = "ab") -> list[str]:
    return [f"{part}/{name}" for part in parts for name in classes]


@pytest.mark.parametrize(
    "parts",
    [
        ("Training Set", "Test Set"),
        ("train2017", "test2017"),
        ("train_images", "test_images"),
        ("Trainset", "TESTSET"),
        ("TrainData", "TestData"),
        ("trainval", "tst"),
        ("asl_alphabet_train/asl_alphabet_train", "asl_alphabet_test/asl_alphabet_test"),
        ("training/images", "test/images"),
        ("01 training", "02 testing"),
    ],
)
def test_parts_are_known_by_their_names(tmp_path: Path, parts: tuple[str, str]) -> None:
    plant(tmp_path, under([parts[0]]), 5)
    plant(tmp_path, under([parts[1]]), 2)
    files = files_below(tmp_path)
    assert files.classes == ("a", "b")
    assert (len(files.train), len(files.test)) == (10, 4)
    assert files.notes == ()


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "val"),
        ("Train", "Validation"),
        ("training", "eval"),
        ("train", "dev"),
        ("train_1", "train_2"),
        ("fold0", "fold1", "fold2"),
        ("Fold-1", "Fold-2"),
        ("1", "2", "3"),
        ("site A", "site B"),
        ("train",),
        ("cats_train", "dogs_train", "cats_test", "dogs_test"),
    ],
)
def test_trees_of_two_readings_are_asked_about(tmp_path: Path, parts: tuple[str, ...]) -> None:
    plant(tmp_path, under(parts))
    with pytest.raises(DataError) as caught:
        files_below(tmp_path)
    assert f"{parts[0]}, {parts[1]}" in str(caught.value) if len(parts) > 1 else parts[0] in str(caught.value)
    assert "data.parts=" in str(caught.value)


def test_the_question_about_parts_can_be_answered_either_way(tmp_path: Path) -> None:
    plant(tmp_path, under(["images/train", "images/val"]))
    parts = files_below(tmp_path, parts=["images/train", "images/val"])
    assert (parts.classes, len(parts.test)) == (("a", "b"), 12)
    assert all("images/val" in str(path) for path in parts.test)
    classes = files_below(tmp_path / "images", classes=["val", "train"])
    assert classes.classes == ("val", "train")
    assert classes.test_labels.unique().tolist() == [0, 1]
    with pytest.raises(DataError, match=r"data\.parts: .*'.*/images/test' is not a directory; .* are images"):
        files_below(tmp_path, parts=["images/train", "images/test"])


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["photos/cat", "photos/dog"], r"one directory alone, 'photos', .* give '.*/photos'"),
        (["images/train/a", "images/train/b", "labels"], "one directory alone, 'images'"),
        (["cat/train", "cat/test", "dog/train", "dog/test"], r"cat, dog of .* hold the parts test, train.*above"),
        (["train", "test"], "'.*/train' has no directories with pictures.*6 pictures lie in it directly"),
        (["train/a", "train/b", "test"], "'.*/test' has no directories with pictures.*6 pictures lie in it directly"),
        (["train/a", "train/b", "test/a", "test/c"], "train and test differ in classes: b, c"),
        (["train/a", "train/B", "test/a", "test/b"], "train and test differ in classes: B, b"),
        (["train/a", "train/b", "test/a"], r"differ in classes: b \(b in train alone\).*data\.classes those that both"),
        (["x", "y/p", "y/q", "z/p", "z/q"], r"y, z in .* hold the same .*data\.parts=\[\"y\", \"z\"\]"),
        (["train", "bus", "car"], r"holds train, which .*data\.classes = \['bus', 'car', 'train'\]"),
    ],
)
def test_trees_that_cannot_be_read_say_why(tmp_path: Path, folders: list[str], message: str) -> None:
    plant(tmp_path, [folder for folder in folders if folder != "labels"])
    (tmp_path / "labels").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=message):
        files_below(tmp_path)


@pytest.mark.parametrize(
    ("folders", "files", "message"),
    [
        ([], ["mr/1.dcm", "ct/1.nii", "ct/2.dcm"], r"no directories with pictures.*holds \(2 \.dcm, 1 \.nii\)"),
        ([], [f"x/1.k{i}" for i in range(12)], r"1 \.k7, 2 others\)"),
        (["cat"], ["flag/1.svg", "flag/2.svg"], r"one directory alone, 'cat'.*\(.* from 'flag': 2 \.svg\)"),
        (["train/a", "train/b"], ["test/a/1.jxr"], r"holds train, which.*\(.* from 'test': 1 \.jxr\)"),
        (["train/a", "train/b", "test/a"], ["test/b/1.jxr"], r"class 'b' has no picture.*, but 1 \.jxr, in"),
    ],
)
def test_a_refusal_counts_the_files_that_are_no_pictures(
    tmp_path: Path, folders: list[str], files: list[str], message: str
) -> None:
    plant(tmp_path, folders)
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"no picture")
    with pytest.raises(DataError, match=message):
        files_below(tmp_path)


def test_a_class_may_be_called_like_a_part_if_nothing_else_says_so(tmp_path: Path) -> None:
    plant(tmp_path, ["crash test", "training shoes", "dress shoes", "valuables"])
    assert len(files_below(tmp_path).classes) == 4
    assert part_roles(["train_val", "test"]) == {"train_val": "train", "test": "test"}
    assert part_roles(["protest", "detrained", "contest"]) == {}


def test_other_parts_are_left_out_with_a_note(tmp_path: Path) -> None:
    plant(tmp_path, [*under(["train", "test", "val"]), "unlabelled"])
    (tmp_path / "annotations").mkdir()
    files = files_below(tmp_path)
    assert len(files.train) == len(files.test) == 12
    assert len(files.notes) == 1
    assert "unlabelled (6 pictures), val (12 pictures), left out" in files.notes[0]


def test_files_of_systems_and_tools_are_no_data(tmp_path: Path) -> None:
    plant(tmp_path, ["a", "b", "a/inner"])
    expected = files_below(tmp_path)
    plant(tmp_path, ["__MACOSX/a", "@eaDir", "$RECYCLE.BIN", "lost+found", "__pycache__", ".ipynb_checkpoints"])
    plant(tmp_path, ["a/@eaDir", "a/.thumbnails", "b/System Volume Information", "b/inner/__MACOSX"])
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._0.bmp"):
        (tmp_path / "a" / name).write_bytes(b"no data")
    assert files_below(tmp_path).train == expected.train
    assert files_below(tmp_path).notes == ()


def test_files_that_are_no_pictures_are_counted(tmp_path: Path) -> None:
    plant(tmp_path, ["a", "b"])
    for name in ("1.heic", "2.heic", "scan.DCM", "array.npy", "notes.txt", "figure.eps", "README"):
        (tmp_path / "b" / name).write_bytes(b"\x00\x01 something else")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (note,) = files_below(tmp_path).notes
    assert note.startswith("8 files are left out of 2 classes")
    for words in ("2 .heic", "1 .dcm", "1 .npy", "1 .txt", "1 .eps", "1 without a suffix", "1 broken links"):
        assert words in note


def test_pictures_are_known_by_what_they_hold_where_the_suffix_says_nothing(tmp_path: Path) -> None:
    plant(tmp_path, ["a", "b"])
    Image.new("L", (2, 2)).save(tmp_path / "a" / "no_suffix", format="PNG")
    Image.new("L", (2, 2)).save(tmp_path / "a" / "tweet.jpg_large", format="JPEG")
    files = files_below(tmp_path)
    assert len(files.train) + len(files.test) == 14
    assert files.notes == ()


def test_links_are_followed_and_end(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", ["a", "b/inner"])
    plant(tmp_path / "elsewhere", ["more"], count=3)
    (root / "b" / "linked").symlink_to(tmp_path / "elsewhere" / "more", target_is_directory=True)
    (root / "b" / "again").symlink_to(tmp_path / "elsewhere" / "more", target_is_directory=True)
    (root / "b" / "inner" / "loop").symlink_to(root / "b", target_is_directory=True)
    (root / "self").symlink_to(root, target_is_directory=True)
    files = files_below(root, classes=["a", "b"])
    assert len(files.train) + len(files.test) == 6 + 6 + 3
    assert any("1 linked directories that lead back up" in note for note in files.notes)


def test_the_order_of_classes_is_that_of_text_said_and_settable(tmp_path: Path) -> None:
    plant(tmp_path, map(str, range(11)), count=5)
    files = files_below(tmp_path)
    assert files.classes[:3] == ("0", "1", "10")
    (note,) = files.notes
    assert "'0', '1', '10', '2'" in note
    assert "data.classes" in note
    ordered = files_below(tmp_path, classes=list(range(11)))
    assert ordered.classes == tuple(map(str, range(11)))
    assert ordered.notes == ()
    assert {
        path.parent.name for path, label in zip(ordered.train, ordered.train_labels, strict=True) if label == 2
    } == {"2"}
    some = files_below(tmp_path, classes=["3", "1"])
    assert "data.classes leaves out 0, 10, 2" in some.notes[0]
    with pytest.raises(DataError, match=r"data\.classes: .* has no directory '12'"):
        files_below(tmp_path, classes=["1", "12"])


def test_classes_of_both_parts_take_the_order_that_is_given(tmp_path: Path) -> None:
    plant(tmp_path, under(["train", "test"]), count=2)
    files = files_below(tmp_path, classes=["b", "a"])
    assert [path.parent.name for path in files.test] == ["b", "b", "a", "a"]
    assert files.test_labels.tolist() == [0, 0, 1, 1]


def test_pictures_beside_and_below_classes_get_a_note(tmp_path: Path) -> None:
    plant(tmp_path, ["animals/cat", "animals/dog", "vehicles/bus", "."], count=5)
    beside, below = files_below(tmp_path).notes
    assert beside.startswith("5 pictures lie beside the classes")
    assert re.search("all pictures below one are of that class .*'animals' holds cat, dog", below)


@given(st.lists(st.integers(0, 10**20), unique=True), st.sampled_from(["", "class ", "a-"]))
def test_the_natural_order_is_that_of_the_numbers(numbers: list[int], before: str) -> None:
    names = [f"{before}{number}" for number in numbers]
    assert sorted(names, key=natural_key) == [f"{before}{number}" for number in sorted(numbers)]
