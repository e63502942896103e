"""A recording followed: read on from where it was left, whole or thinned, and what its state is."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slopewise.live import Loop, stalled
from slopewise.live._tail import Tail
from slopewise.recording import has_header, read_recording, to_line
from slopewise.testing import synthetic_recording


@given(
    pieces=st.lists(st.binary(max_size=12).map(lambda data: data.replace(b"z", b"\n")), max_size=12),
    most=st.integers(1, 9),
)
def test_every_whole_line_is_handed_out_once(tmp_path_factory, pieces: list[bytes], most: int) -> None:
    path = tmp_path_factory.mktemp("tail") / "file"
    path.touch()
    tail, seen = Tail(path), []
    for piece in pieces:
        with path.open("ab") as file:
            file.write(piece)
        new, lines = tail.read(most)
        assert not new
        seen += lines
    while tail.behind:
        seen += tail.read(most)[1]
    assert seen == b"".join(pieces).split(b"\n")[:-1]
    assert tail.line == len(seen)


@pytest.mark.parametrize("text", [b"", b"x\n", b"a much longer line\nand one more\n"])
def test_another_file_in_its_place_is_noticed(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first\nsecond\n")
    tail = Tail(path)
    assert tail.read() == (False, [b"first", b"second"])
    path.write_bytes(text)
    assert tail.read() == (True, text.splitlines())
    (tmp_path / "next").write_bytes(b"moved\n")
    (tmp_path / "next").replace(path)
    assert tail.read()[1] == [b"moved"]


def test_a_cut_line_may_be_cut_off_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"whole\ncut sho")
    tail = Tail(path)
    assert tail.read() == (False, [b"whole"])
    path.write_bytes(b"whole\nanother line\n")
    assert tail.read() == (False, [b"another line"])


@pytest.mark.parametrize("options", [{}, {"diverged": True}, {"finished": False}, {"samples": 0}])
def test_a_growing_recording_is_what_reading_it_gives(tmp_path: Path, growing, options) -> None:
    source = growing(tmp_path / "run.jsonl", layers=3, **{"samples": 6, **options})
    loop = Loop(source.path, keep=100)
    while source.left:
        source.write(1)
        loop.update()
        assert str(loop.recording) == str(read_recording(source.path))  # NaN is not equal to itself
        assert loop.error == loop.fault == ""
        assert loop.behind == 0


def test_a_long_recording_is_thinned_evenly_and_keeps_its_last_sample(tmp_path: Path, growing) -> None:
    source = growing(tmp_path / "run.jsonl", layers=1, samples=203, every=1, finished=False)
    slowly = Loop(source.path, keep=10)
    while source.left:
        source.write(7)
        slowly.update()
    at_once = Loop(source.path, keep=10)
    at_once.update()
    for loop in (slowly, at_once):
        assert loop.recording
        steps = [sample.step for sample in loop.recording.samples]
        assert steps == [*range(1, 204, loop.stride), *([203] if 202 % loop.stride else [])]
        assert 10 <= len(steps) <= 22
        assert loop.seen == 203
        assert loop.recording.alarms == read_recording(source.path).alarms
    unkept = Loop(source.path)
    unkept.update()
    assert unkept.summary(source.path.stat().st_mtime) == slowly.summary(source.path.stat().st_mtime)


def test_a_run_that_writes_to_an_old_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    first, second = synthetic_recording(layers=2, samples=4), synthetic_recording(layers=2, samples=2, finished=False)
    loop = Loop(path, keep=10)
    for recording in (first, second):
        with path.open("a") as file:
            file.writelines(to_line(item) + "\n" for item in (recording.header, *recording.samples))
        loop.update()
        assert loop.recording
        assert loop.recording.samples == recording.samples
    path.write_text(to_line(first.header) + "\n")
    loop.update()
    assert loop.recording == type(first)(first.header)


def test_damage_is_shown_and_read_past(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    recording = synthetic_recording(layers=2, samples=2, alarms=False)
    lines = [to_line(item) for item in (recording.header, *recording.samples, recording.end)]  # type: ignore[arg-type]
    path.write_text("\n".join([*lines[:2], '{"sample": {}}', '{"loss": 1}', *lines[2:]]) + "\n")
    for keep in (0, 10):
        loop = Loop(path, keep)
        loop.update()
        assert loop.recording
        assert loop.recording.samples[-1] == recording.samples[-1]
        assert loop.state(0.0) == "ended"
    assert loop.fault.startswith("line 3 is not of a recording")
    path.unlink()
    loop.update()
    assert loop.error == f"cannot read '{path}': No such file or directory"


def test_states_follow_from_the_usual_pause(tmp_path: Path, growing) -> None:
    source = growing(tmp_path / "run.jsonl", layers=2, samples=3, diverged=True, slopes=True)
    source.write(len(source.left) - 1)
    loop = Loop(source.path)
    loop.update()
    changed = source.path.stat().st_mtime
    assert loop.state(changed + 50) == "running"
    assert loop.state(changed + 61) == "stalled"  # it wrote three samples within moments
    source.write()
    loop.update()
    assert loop.summary(changed + 61).state == "ended"
    assert loop.summary(changed).progress == "step 150, ended by an error"
    assert stalled(301.0, 60.0)
    assert not stalled(299.0, 60.0)


def test_only_recordings_are_taken_for_one(tmp_path: Path, growing) -> None:
    source = growing(tmp_path / "run.jsonl")
    source.write()
    (tmp_path / "other.jsonl").write_text('{"loss": 0.5}\n')
    assert has_header(source.path)
    assert not has_header(tmp_path / "other.jsonl")
    assert not has_header(tmp_path / "absent.jsonl")
