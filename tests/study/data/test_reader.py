"""Reading and storing images: every form of storage gives the same images, and leaves no file behind."""

import gc
import multiprocessing
import os
import pickle
import re
import threading
import time
from multiprocessing import reduction
from pathlib import Path

import numpy as np
import pytest
import torch

from slopewise.errors import DataError
from slopewise.events import Reading
from slopewise.study import DataSpec
from slopewise.study.data import ImageReader, StoredImages, load_data
from slopewise.study.data._prepare import prepare
from slopewise.study.data._stored import chunks


def write_archive(path: Path, pixels: np.ndarray, labels: np.ndarray, test: int = 6) -> DataSpec:
    np.savez(path, x_train=pixels[test:], y_train=labels[test:], x_test=pixels[:test], y_test=labels[:test])
    return DataSpec(source=str(path))


def open_files() -> set[str]:
    """Return the kernel's names of the files that this process has open or mapped."""
    gc.collect()  # what other tests have left
    opened = {str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}
    mapped = re.findall(r"(/\S+ \(deleted\))$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    return {name for name in opened | set(mapped) if "images" in name}


def place(images: StoredImages) -> str:
    return str(Path(f"/proc/self/fd/{images._file}").readlink())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64])
def test_images_are_what_numpy_makes_of_them_wherever_they_are_held(tmp_path: Path, dtype: type) -> None:
    numbers = np.random.default_rng(0)
    pixels = (numbers.random((30, 3, 6, 5)) * 200).astype(dtype)
    spec = write_archive(tmp_path / "a.npz", pixels, np.arange(30) % 3)
    train = pixels[6:].astype(np.float64)
    mean, deviation = (f(train, axis=(0, 2, 3), keepdims=True).astype(np.float32)[0] for f in (np.mean, np.std))
    expected = (pixels.astype(np.float32) - mean) / deviation
    for memory in (2.0, 1e-9):
        data = load_data(spec.model_copy(update={"memory_gib": memory}), folder=tmp_path)
        assert np.array_equal(data.train_images[torch.arange(24)].numpy(), expected[6:])
        assert np.array_equal(data.test_images[torch.tensor([5, 0])].numpy(), expected[[5, 0]])
        assert data.train_images.shape == (24, 3, 6, 5)
        assert any(str(tmp_path) in name for name in open_files()) == (memory < 1)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz"]
    del data
    assert not open_files()


def test_a_subset_is_of_the_same_images_and_has_moments_of_its_own(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, 4, 4)).astype(np.uint8)
    spec = write_archive(tmp_path / "a.npz", pixels, np.arange(60) % 2)
    whole, part = load_data(spec), load_data(spec.model_copy(update={"train_size": 10}))
    raw, chosen = whole.train_images._pixels.tensor, part.train_images._index
    assert part.train_images.shape == (10, 1, 4, 4)
    images = part.train_images[torch.arange(10)]
    assert images.double().mean().abs() < 1e-6
    assert (images.double().std(correction=0) - 1).abs() < 1e-6
    scale = (images.amax() - images.amin()) / (raw[chosen].amax().int() - raw[chosen].amin().int())
    assert torch.allclose(images, (raw[chosen].float() - raw[chosen].float().mean()) * scale, atol=1e-5)


@pytest.mark.filterwarnings("ignore:data. channels 1")
def test_a_constant_channel_is_left_at_its_scale(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).random((30, 2, 4, 4), dtype=np.float32)
    pixels[:, 1] = np.float32(0.1)  # whose sum over many is not a multiple of it
    data = load_data(write_archive(tmp_path / "a.npz", pixels, np.arange(30) % 2))
    assert (data.train_images[torch.arange(24)][:, 1] == 0).all()
    assert data.train_images.deviation.flatten()[1] == 1


def test_moments_are_exact_far_from_zero(tmp_path: Path) -> None:
    pixels = 1e6 + np.random.default_rng(3).integers(0, 2, (600, 1, 8, 8)).astype(np.float32)
    data = load_data(write_archive(tmp_path / "a.npz", pixels, np.arange(600) % 2, test=100))
    assert data.train_images.deviation.item() == pytest.approx(pixels[100:].astype(np.float64).std(), rel=1e-6)


def test_moments_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    pixels = np.random.default_rng(4).random((3000, 28, 28), dtype=np.float32)
    spec = write_archive(tmp_path / "a.npz", pixels, np.arange(3000) % 2)
    before, moments = torch.get_num_threads(), set()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        images = load_data(spec).train_images
        moments.add((images.mean.item(), images.deviation.item()))
    torch.set_num_threads(before)
    assert len(moments) == 1


def test_threads_read_each_image_once_and_report_progress() -> None:
    reports: list[Reading] = []
    reader = ImageReader(DataSpec(), on_event=reports.append)
    numbers: list[int] = []
    threads: set[int] = set()

    def item(i: int) -> torch.Tensor:
        numbers.append(i)
        threads.add(threading.get_ident())
        return torch.full((1, 2, 2), i, dtype=torch.int32)

    images = reader.read(item, (100, 1, 2, 2), torch.int32, what="cats", threads=4)
    assert sorted(numbers) == list(range(100))
    assert threading.get_ident() not in threads
    assert torch.equal(images.tensor[:, 0, 1, 1], torch.arange(100, dtype=torch.int32))
    assert reports[-1] == Reading("cats", 100, 100)
    assert [news.done for news in reports] == sorted({news.done for news in reports})
    numbers.clear(), threads.clear()
    reader.read(item, (100, 1, 2, 2), torch.int32, what="cats", threads=1)
    assert numbers == list(range(100))
    assert threads == {threading.get_ident()}


def test_an_error_ends_the_reading_and_leaves_nothing(tmp_path: Path) -> None:
    reader = ImageReader(DataSpec(memory_gib=1e-9), tmp_path)
    read: list[int] = []

    def item(i: int) -> torch.Tensor:
        read.append(i)
        time.sleep(0.002)  # for long enough to be called off
        raise KeyError(i)

    with pytest.raises(KeyError):
        reader.read(item, (100_000, 1, 2, 2), torch.uint8, what="cats", threads=2)
    assert len(read) < 1000
    assert not open_files()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("odd", [torch.zeros(1, 2, 3), torch.zeros(3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)])
def test_an_image_unlike_the_others_is_refused(odd: torch.Tensor) -> None:
    images = StoredImages((3, 1, 2, 2), torch.float32)
    with pytest.raises(ValueError, match=r"among images \(1, 2, 2\) of torch.float32"):
        images.write(0, odd)


def test_memory_is_shared_out_between_the_parts(tmp_path: Path) -> None:
    reader = ImageReader(DataSpec(memory_gib=10_000 / 2**30), tmp_path)
    parts = [reader.read(lambda i: torch.zeros(1, 10, 10, dtype=torch.uint8), (n, 1, 10, 10), torch.uint8, what="x")
             for n in (60, 60, 40)]  # fmt: skip
    where = [place(part) for part in parts]
    assert [str(tmp_path) in name for name in where] == [False, True, False]


def test_a_full_disk_gets_a_clear_message(tmp_path: Path) -> None:
    reader = ImageReader(DataSpec(memory_gib=1e-9), tmp_path / "absent")
    with pytest.raises(DataError, match=r"data.memory_gib: .* failed \(No such file or directory\): make room there"):
        reader.store(torch.zeros(4, 1, 2, 2))


def test_a_place_without_memfd_has_a_temporary_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    images = StoredImages((1, 1, 2, 2), torch.uint8)
    assert str(tmp_path) in place(images)
    assert not list(tmp_path.iterdir())
    assert images.tensor.sum() == 0


def test_writing_to_the_images_changes_no_one_elses() -> None:
    images = StoredImages((1, 1, 2, 2), torch.uint8)
    images.tensor.fill_(7)
    images._tensor = None  # maps them anew
    assert images.tensor.sum() == 0


def test_a_process_that_is_started_maps_the_same_file(tmp_path: Path) -> None:
    spec = write_archive(tmp_path / "a.npz", np.random.default_rng(5).random((40, 8, 8)), np.arange(40) % 2)
    data = load_data(spec.model_copy(update={"train_size": 20}))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, data))
    process.start()
    theirs.close()
    images, labels, inode = ours.recv()
    process.join()
    assert np.array_equal(images, data.train_images[torch.arange(20)].numpy())
    assert labels == data.train_targets.tolist()
    assert inode == os.fstat(data.train_images._pixels._file).st_ino


def _answer(pipe, data) -> None:
    images = data.train_images
    inode = os.fstat(images._pixels._file).st_ino
    pipe.send((images[torch.arange(20)].numpy(), data.train_targets.tolist(), inode))


def test_images_are_copied_if_files_cannot_be_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(reduction, "DupFd")
    monkeypatch.setattr("slopewise.study.data._stored._SHARES_FILES", False)
    monkeypatch.delattr(os, "pwrite")
    images = StoredImages((2, 1, 2, 2), torch.float32)
    images.write(1, torch.ones(1, 2, 2))
    assert torch.equal(pickle.loads(pickle.dumps(images)).tensor, images.tensor)


def test_a_pickle_that_no_new_process_is_made_with_is_a_copy_that_can_be_read_twice() -> None:
    images = StoredImages((2, 1, 2, 2), torch.uint8)
    images.write(1, torch.full((1, 2, 2), 7, dtype=torch.uint8))
    pickled = pickle.dumps(images)
    first, second = pickle.loads(pickled), pickle.loads(pickled)
    first.write(0, torch.ones(1, 2, 2, dtype=torch.uint8))
    assert torch.equal(second.tensor, images.tensor)
    assert len({os.fstat(copy._file).st_ino for copy in (images, first, second)}) == 3


def test_chunks_are_all_of_it_in_order() -> None:
    images = torch.arange(70, dtype=torch.float64).view(70, 1, 1, 1).expand(70, 1, 600, 600)
    assert torch.equal(torch.cat([chunk[:, 0, 0, 0] for chunk in chunks(images)]), images[:, 0, 0, 0])
    assert max(map(len, chunks(images))) == 5


def test_tensors_of_a_source_are_released() -> None:
    spec = DataSpec()
    from slopewise.study.data import SOURCES

    reader = ImageReader(spec)
    raw = SOURCES.find("digits").function()(spec, reader)
    data = prepare(raw, spec, reader)
    assert data.train_images._pixels.tensor.data_ptr() != raw.train_images.data_ptr()
