"""`import slopewise` needs torch alone."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from slopewise.recording import to_line
from slopewise.study import Store, parse_spec
from slopewise.testing import synthetic_recording, synthetic_study

STUDY_ONLY = [
    "numpy", "scipy", "pydantic", "sqlalchemy", "rich", "typer", "jinja2", "plotly", "sklearn", "PIL",
    "lightning_fabric", "pyarrow", "starlette", "uvicorn", "lightning", "transformers", "mlflow", "wandb",
]  # fmt: skip


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True).stdout.strip()


def test_the_layers_load_no_study_dependency_that_torch_does_not_load_itself() -> None:
    added = run(
        "import sys, torch; before = set(sys.modules); import slopewise as sw; sw.PReLU, sw.convert, sw.Monitor;"
        "print(*(set(sys.modules) - before))"
    ).split()
    assert "slopewise.nn" in added
    assert not [module for module in added if module.split(".")[0] in STUDY_ONLY]
    assert not [module for module in added if module.startswith(("slopewise.study", "slopewise.report"))]


def test_the_package_alone_does_not_wait_for_torch() -> None:
    assert run("import sys, slopewise, slopewise.study.engines; print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["status", "study"], ["inspect", "run.jsonl"]], ids=" ".join
)
def test_commands_that_need_no_tensors_do_not_wait_for_torch(arguments: list[str], tmp_path: Path) -> None:
    record = synthetic_study(("relu", "elu"), seeds=2)
    spec = parse_spec({"arms": list(record.arms), "control": record.control, "seeds": list(record.seeds)})
    (tmp_path / "study").mkdir()
    with closing(Store.create(tmp_path / "study", spec, record.data)) as store:
        for trial in record.trials:
            store.add(trial, record.environments["synthetic"])
    recording = synthetic_recording(layers=2, samples=3)
    lines = map(to_line, (recording.header, *recording.samples))
    (tmp_path / "run.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    code = f"""
import sys
sys.argv = ["slopewise", *{arguments!r}]
from slopewise.__main__ import main
try:
    main()
finally:
    print(sorted({{"torch", "scipy", "plotly"}} & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, cwd=tmp_path, check=False)
    assert ended.stdout.splitlines()[-1] == "[]", ended


def test_convert_is_the_function_even_after_its_room_is_imported() -> None:
    code = "import slopewise.convert, slopewise as sw; from slopewise import convert; print(sw.convert is convert)"
    assert run(code + "; print(convert.__name__, callable(convert), sw.convert is slopewise.convert)").split() == [
        "True", "convert", "True", "True",
    ]  # fmt: skip


def test_layers_work_where_no_study_dependency_is_installed() -> None:
    code = f"""
import sys
for name in {[name for name in STUDY_ONLY if name != "numpy"]!r}:
    sys.modules[name] = None
import torch, slopewise
print(slopewise.PReLU(3)(torch.zeros(2, 3)).shape)
try:
    slopewise.Study
except ModuleNotFoundError as error:
    print(error)
"""
    shape, message = run(code).splitlines()
    assert shape == "torch.Size([2, 3])"
    assert "pip install 'slopewise[study]'" in message


def test_public_names_resolve() -> None:
    assert run("import slopewise; print(*[getattr(slopewise, n).__name__ for n in slopewise.__all__])").split() == [
        "BatchNormPReLU1d", "BatchNormPReLU2d", "BatchNormPReLU3d", "ConvBNPReLU", "Conversion", "ConversionWarning",
        "Folding", "Monitor", "PReLU", "Results", "SlopeSchedule", "Study", "convert", "export_model", "fold",
        "slopewise.nn.functional", "slopewise.init", "judge", "load_spec", "load_study", "slopewise.nn",
        "slopewise.ops", "param_groups", "quantize_onnx", "set_shared_gradient", "watch",
    ]  # fmt: skip


def test_the_command_says_what_it_needs_where_only_the_layers_are_installed() -> None:
    code = "import sys; sys.modules['typer'] = None; from slopewise.__main__ import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "error: the commands need 'typer': pip install 'slopewise[study]'\n"
