"""Names that are nearly right, the help, completion in a real shell, and folders of studies whose users name none."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

import slopewise as sw
from slopewise.cli import app, names
from slopewise.errors import SlopewiseError
from slopewise.report import EXPORTS
from slopewise.study import ArmSpec, HardwareSpec, ModelSpec, StudySpec, default_folder
from slopewise.study.arms import ACTIVATIONS, AS_IS, activation_factory
from slopewise.study.data import SOURCES
from slopewise.study.engines import make_engine
from slopewise.study.models import MODELS, recipe
from slopewise.study.tasks import TASKS

Cli = Callable[..., subprocess.CompletedProcess[str]]
TINY = ("--arms", "relu", "--seeds", "1", "--train-size", "100", "--epochs", "1", "--set", "model.options.width=4")


def test_names_for_completion_are_the_names_there_are() -> None:
    assert {*names.ARMS} == {*ACTIVATIONS, AS_IS}
    assert [arm.name for arm in StudySpec().arms] == [*names.DEFAULT_ARMS]
    assert {*names.MODELS} == {*MODELS}
    assert {*names.TASKS} == {*TASKS.names()}
    assert {*names.SOURCES} == {*SOURCES.names()} - {"folder", "npz"}
    assert {*names.FORMATS} == {*EXPORTS}
    assert get_args(HardwareSpec.model_fields["accelerator"].annotation) == names.DEVICES
    for engine in names.ENGINES:
        make_engine(engine)


def help_of(*command: str) -> str:
    return CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [*command, "--help"]).output


@pytest.mark.parametrize("command", [c.callback.__name__ for c in app.registered_commands])
def test_examples_stay_whole_at_80_columns(command: str) -> None:
    text = help_of(command)
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.strip().startswith("Example"))
    examples = lines[begin : lines.index("Options:")]
    commands = [line for line in examples if line.startswith("    slopewise")]
    assert commands
    assert max(map(len, lines)) <= 80
    for number, line in enumerate(examples):
        if line.startswith("    slopewise") and line.endswith("\\"):
            assert examples[number + 1].startswith("      --")
        elif line.startswith("    slopewise"):
            assert not examples[number + 1 : number + 2] or not examples[number + 1].strip()


def test_the_list_of_commands_is_not_cut_at_80_columns() -> None:
    lines = help_of().split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == [command.callback.__name__ for command in app.registered_commands]
    assert not [line for line in lines if line.endswith("...")]


def test_the_help_and_completion_name_engines_of_installed_packages(install: Callable[..., None]) -> None:
    assert "(tasks of a Ray cluster), or module:Class" in re.sub(r"\s+", " ", help_of("run"))
    install("slopewise.engines", {"slurm": "slurm:Slurm"})  # its module is not imported for that
    assert "(tasks of a Ray cluster), slurm (installed), or module:Class" in re.sub(r"\s+", " ", help_of("run"))
    assert names.words_of(names.engines())("s") == ["slurm"]


def test_the_help_states_the_defaults_of_the_spec() -> None:
    text = re.sub(r"\s+", " ", help_of("run"))
    spec, segment, restore = (StudySpec(task={"kind": names.TASKS[kind]}) for kind in (0, 2, 4))

    def default(option: str) -> str:
        return re.search(rf" {option} (?:<|[A-Z]).*?\[default: \(?(.*?)\)?\]", text)[1]

    def for_each(table: str, key: str) -> str:
        first, second, third = (getattr(getattr(each, table), key) for each in (spec, segment, restore))
        return f"{first}; {second} to segment, {third} to restore"

    assert default("--epochs") == for_each("train", "epochs")
    assert default("--model") == for_each("model", "name")
    assert default("--data") == for_each("data", "source")
    assert default("--batch-size") == f"{spec.train.batch_size}; {segment.train.batch_size} to segment or restore"
    assert segment.train.batch_size == restore.train.batch_size
    assert default("--lr") == f"{spec.train.lr} to classify"
    assert (default("--image-size"), spec.data.image_size) == ("32", (32, 32))
    assert default("--seeds") == str(len(spec.seeds))
    assert default("--device") == spec.hardware.accelerator
    assert default("--arms").replace(" ", "") == ",".join(arm.name for arm in spec.arms)


@pytest.mark.parametrize(
    ("find", "meant"),
    [
        (lambda: activation_factory(ArmSpec(name="x", activation="prelu")), "'prelu_shared' or 'prelu_channel'"),
        (lambda: activation_factory(ArmSpec(name="x", activation="PReLU")), "'prelu_shared' or 'prelu_channel'"),
        (lambda: activation_factory(ArmSpec(name="x", activation="ReLU")), "'relu'"),
        (lambda: activation_factory(ArmSpec(name="x", activation="LeakyReLU")), "'leaky_relu'"),
        (lambda: recipe(ModelSpec(name="mynet.py:Net")), "'mynet:Net'"),
        (lambda: recipe(ModelSpec(name="nets/mynet.py:Net")), "'nets.mynet:Net'"),
        (lambda: recipe(ModelSpec(name="mynet.py")), "'mynet:NAME'"),
        (lambda: recipe(ModelSpec(name="torch.nn.Linear")), "'torch.nn:Linear'"),
        (lambda: recipe(ModelSpec(name="torch.nn:linear")), "'torch.nn:Linear'"),
        (lambda: recipe(ModelSpec(name="ResNet20")), "'resnet20'"),
        (lambda: make_engine("Ray"), "'ray'"),
        (lambda: StudySpec(arms="relu,prelu_channel", control="prelu"), "'prelu_channel'"),
    ],
)  # fmt: skip
def test_a_name_that_is_nearly_right_is_proposed(find: Callable[[], object], meant: str) -> None:
    with pytest.raises((SlopewiseError, ValueError), match=re.escape(f"did you mean {meant}")):
        find()


@pytest.mark.parametrize(
    ("command", "meant"),
    [(["rn"], "Did you mean 'run'?"), (["run", "--epoch", "3"], "--epochs"), (["judge", "--mtric"], "--metric")],
)
def test_a_command_or_option_that_is_nearly_right_is_proposed(command: list[str], meant: str) -> None:
    ended = CliRunner().invoke(app, command)
    assert (ended.exit_code, meant in ended.output) == (2, True)


def test_the_version() -> None:
    ended = CliRunner().invoke(app, ["--version"])
    assert (ended.exit_code, ended.output) == (0, f"slopewise {sw.__version__}\n")


def test_folders_are_named_after_data_and_model(tmp_path: Path) -> None:
    (tmp_path / "my photos").mkdir()
    (tmp_path / "照片").mkdir()

    def named(data: object = "digits", model: str = "cnn") -> str:
        return str(default_folder(StudySpec(data={"source": str(data)}, model={"name": model})))

    assert named() == "study-digits-cnn"
    assert named(tmp_path / "my photos", "mynet:Net") == "study-my-photos-mynet-Net"
    assert named(tmp_path / "my photos", "timm:resnet18") == "study-my-photos-timm-resnet18"
    assert re.fullmatch(r"study-[0-9a-f]{6}-cnn", named(tmp_path / "照片"))
    if sys.platform == "linux":  # where a name is any bytes
        (unicode_lacks := tmp_path / os.fsdecode(b"p\xff")).mkdir()
        assert re.fullmatch(r"study-p-[0-9a-f]{6}-cnn", named(unicode_lacks))
    assert len(named("m" * 300 + ":f", "n" * 300 + ":f")) < 120


@pytest.mark.slow
def test_without_out_the_same_command_resumes_and_another_model_gets_another_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()  # what `make study` left
    first = cli("run", *TINY)
    assert first.returncode == 0, first.stderr
    assert "report: study-digits-cnn/report.html" in first.stderr
    again = cli("run", *TINY)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "trials done" not in again.stderr
    other = cli("run", *TINY[:-2], "--model", "resnet20", "--dry-run")
    assert "Folder: study-digits-resnet20." in other.stderr
    assert "1 of 1 trials to run" in other.stdout
    refused = cli("run", *TINY, "--batch-size", "32")
    assert refused.returncode == 2
    assert "'study-digits-cnn' holds another study: train.batch_size was 64, now 32" in refused.stderr
    assert "choose another folder, as in --out study-digits-cnn-2" in refused.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("slopewise pa", ["paragraph"]),
        ("slopewise run --engine-o", ["--engine-option"]),
        ("slopewise run --engine ", ["local", "ray"]),
        ("slopewise run --arms relu,prelu_c", ["relu,prelu_channel", "relu,prelu_channel_0"]),
        ("slopewise run --task seg", ["segmentation"]),
        ("slopewise export study --format c", ["csv"]),
        ("slopewise run --data pho", []),  # left to the shell, which completes names of files
    ],
)
def test_bash_completes_commands_options_and_names(tmp_path: Path, typed: str, completed: list[str]) -> None:
    program = tmp_path / "slopewise"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -W error -m slopewise \"$@\"\n")
    program.chmod(0o755)
    script = """
        PATH=$1:$PATH; eval "$(_SLOPEWISE_COMPLETE=source_bash slopewise)"
        COMP_WORDS=($2); [[ $2 == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p slopewise | sed 's/.*-F \\([^ ]*\\).*/\\1/') slopewise; printf '%s\\n' "${COMPREPLY[@]}"
    """
    ended = subprocess.run(["bash", "-c", script, "bash", tmp_path, typed], text=True, capture_output=True, check=True)
    assert ended.stdout.split() == completed, ended.stderr


@pytest.mark.parametrize(
    ("arms", "shown", "status"),
    [
        (["relu=93.1,0.2,10", "elu=93.9\u00b10.3,10"], "elu helps: +0.8 points against relu (95 % interval", 0),
        (["relu=93.1", "elu=93.9"], "elu: +0.8 points against relu, and no verdict without standard deviations", 0),
        (["relu=93.1,1e200,10", "elu=93.9,0.3,10"], "elu is inconclusive: +0.8 points against relu", 0),
        (["relu=93.1", "=93.9"], "'=93.9': write ARM=MEAN", 2),
        (["relu=93.1,0.2", "elu=93.9"], "write ARM=MEAN or ARM=MEAN,SD,N", 2),
        (["relu=93.1", "relu=93.9"], "an arm is given twice", 2),
    ],
)
def test_means_of_a_paper(cli: Cli, arms: list[str], shown: str, status: int) -> None:
    ended = cli("means", *arms, "--control", "relu", "--margin", "0.5", "--unit", "points")
    assert (ended.returncode, shown in ended.stdout + ended.stderr) == (status, True)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--effect", "0.5"], "9 pairs of runs (seeds) show a difference of 0.5, 1.2 times the spread of 0.4"),
        (["--effect", "0.5", "--arms", "4", "--unpaired"], "runs of each arm show a difference of 0.5"),
        (["--seeds", "3", "--unpaired"], "3 runs of each arm cannot show any effect; use at least 4"),
        (["--seeds", "1"], "1 pair of runs (seed) cannot show any effect; use at least 6"),
        (["--seeds", "1", "--unpaired"], "1 run of each arm cannot show any effect; use at least 4"),
        (["--seeds", "10", "--json"], '"fewest": 6'),
        (["--seeds", "10", "--effect", "1"], "give either --effect"),
        (["--effect", "0"], "--effect: a number above 0, got 0"),
    ],
)
def test_seeds_for_an_effect_and_effects_of_seeds(cli: Cli, options: list[str], shown: str) -> None:
    ended = cli("seeds", "--spread", "0.4", *options)
    assert shown in ended.stdout + ended.stderr
    assert ended.returncode == (2 if shown.startswith(("give", "--")) else 0)
