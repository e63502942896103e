"""Slopes of a checkpoint on a terminal, read as text."""

import io

import pytest
import torch
from rich.console import Console

from slopewise.report import print_slopes
from slopewise.slopes import inspect_slopes

STATE = {
    "stem.conv.weight": torch.ones(8, 3, 3, 3),
    "stem.act.weight": torch.linspace(0.1, 0.5, 8),
    "encoder.stages.0.blocks.0.residual.act.weight": torch.full((8,), -0.25),
    "wild.act.weight": torch.tensor([-3.0, -0.5, -0.25, -0.1, 0.0, 0.75, 1.0, 7.0]),
    "lost.act.weight": torch.full((8,), torch.nan),
    "shared.act.weight": torch.tensor([0.333]),
    "last_norm.weight": torch.ones(8),
}


def shown(state: dict[str, torch.Tensor], width: int = 80, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")  # refuses what the encoding lacks
    print_slopes(inspect_slopes(state), Console(file=stream, width=width, color_system=None))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [60, 80, 104, 120, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp437"])
def test_fits_its_width_in_any_encoding(width: int, encoding: str) -> None:
    text = shown(STATE, width, encoding)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for words in ("33 slopes in 5 layers: alarms in 3 layers", "lost.act", "not finite"):
        assert words in text


def test_nothing_is_cut_at_80_columns() -> None:
    text = shown(STATE, 80)
    table = text.split("\n\n")[1]
    name = "encoder.stages.0.blocks.0.residual.act"
    assert name[:20] in table
    assert "".join(line.split()[0] for line in table.splitlines() if line[:3] in {"enc", "al."}) == name
    assert table.count("…") == 0
    for alarm in ("! negative, stuck at -0.25", "! negative", "! not finite"):
        assert alarm in table


@pytest.mark.parametrize("width", [80, 120])
def test_a_row_has_the_layers_figures(width: int) -> None:
    row = next(line.split() for line in shown(STATE, width).splitlines() if line.startswith("wild.act"))
    quartiles = ["-0.312", "-0.050", "0.812"] if width == 120 else ["-0.050"]
    end = ["negative", "likely"] if width == 120 else []
    assert row == ["wild.act", "8", "-3.000", *quartiles, "7.000", "4", "1", "1", "1", *end]
    row = next(line.split() for line in shown(STATE, width).splitlines() if line.startswith("lost.act"))
    assert row[:4] == ["lost.act", "8", "-", "-"]


def drawn(*layers: list[float], encoding: str = "utf-8", width: int = 80) -> list[str]:
    """Return the ruler and the strips of layers named a.act, b.act and so on."""
    state = {f"{name}.act.weight": torch.tensor(slopes) for name, slopes in zip("abcd", layers, strict=False)}
    lines = shown(state, width, encoding).split("\n\n")[2].splitlines()
    return [line[7:] for line in lines[: len(layers) + 1]]


def test_a_strip_stands_under_its_ruler() -> None:
    ruler, strip = drawn([0.2, 0.3, 0.4, 0.5, 0.6])
    assert strip[0] == strip[-1] == "┊"
    assert ruler.index("0") == 0
    assert ruler.index("1") == len(strip) - 1
    last = len(strip) - 1
    for place, sign in ((0.2, "─"), (0.3, "█"), (0.4, "◆"), (0.5, "█"), (0.6, "─")):
        assert strip[round(place * last)] == sign
    assert strip[round(0.2 * last) - 1] == strip[round(0.6 * last) + 1] == " "
    assert strip.count("◆") == 1


def test_all_strips_have_one_scale() -> None:
    ruler, low, high = drawn([-0.5, -0.5, -0.4], [1.4, 1.5])
    assert low.index("◆") == 0
    assert high.rindex("─") == len(high) - 1
    assert low.index("┊") == high.index("┊") == ruler.index("0")


def test_ends_beyond_the_reach_are_arrows() -> None:
    assert drawn([-900.0, 0.0, 0.5, 1e9])[1][0] == "◂"
    assert drawn([-900.0, 0.0, 0.5, 1e9])[1][-1] == "▸"
    _, one, other = drawn([-900.0, 0.0, 0.5, 1e9], [0.2, 0.8], encoding="ascii")
    assert (one[0], one[-1]) == ("<", ">")
    assert "=" in other


def test_a_shared_slope_is_one_sign() -> None:
    assert drawn([0.333])[1].strip("┊").split() == ["◆"]
    assert "-" not in drawn([0.333], encoding="ascii")[1]


def test_each_alarm_is_explained_once_with_its_layers() -> None:
    words = " ".join(shown(STATE).split())
    assert "- not finite: lost.act. NaN or infinite: training has diverged." in words
    assert "- stuck: encoder.stages.0.blocks.0.residual.act at -0.25. All slopes are exactly one number" in words
    assert "- negative: encoder.stages.0.blocks.0.residual.act and wild.act (4 of 8). Below -0.01" in words
    assert "Not taken for slopes, by their names (--also takes them): last_norm.weight." in words
    assert "- 5 layers likely: a 1-D weight that is all its layer saves, in a layer named as an activation." in words


def test_long_lists_are_counted() -> None:
    many = " ".join(shown({f"act.{n}.weight": torch.full((3,), 0.25) for n in range(9)}).split())
    assert "- stuck: act.0 at 0.25, act.1 at 0.25, act.2 at 0.25, act.3 at 0.25, act.4 at 0.25 and 4 more." in many


def test_remarks_stand_beside_alarms() -> None:
    text = shown({"act.weight": torch.full((4,), -0.5, dtype=torch.bfloat16)}, 200)
    assert "negative, all -0.5 as bfloat16 rounds them" in text


def test_user_text_is_no_markup_and_colour_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    print_slopes(inspect_slopes({"[red]act[/red].weight": torch.full((4,), 0.25)}, also=["*"]), console)
    text = console.file.getvalue()
    assert text.count("[red]act[/red]") == 3  # in the table, at its strip and in the alarm
    assert "\x1b[3" not in text  # no colour; bold is allowed
