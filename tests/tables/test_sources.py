"""Folders of runs, written by the libraries whose formats they are; every source keeps the contract."""

import json

import pytest

from slopewise.errors import TableError
from slopewise.tables import (
    CsvSource,
    JsonLinesSource,
    MLflowSource,
    ParquetSource,
    Request,
    TensorBoardSource,
)
from slopewise.testing import check_table_source

ARMS = {"relu": 31.0, "prelu": 31.6}


@pytest.fixture
def logs(tmp_path):
    """Write event files by TensorBoard's own writer, below ARM/seedN/run."""
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    for arm, score in ARMS.items():
        for seed in range(6):
            events = writer.EventFileWriter(str(tmp_path / "logs" / arm / f"seed{seed}"))
            for step, value in enumerate((score - 2, score + 0.5 + seed / 50, score + seed / 100)):
                psnr = Summary.Value(tag="val/psnr", simple_value=value)
                loss = Summary.Value(tag="loss", simple_value=1 / value)
                events.add_event(Event(step=step, summary=Summary(value=[psnr, loss])))
            events.close()
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Write runs by MLflow's own client, with the arm as a param and the seed as a tag."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.create_experiment("psnr")
    for arm, score in ARMS.items():
        for seed in range(6):
            run = client.create_run(experiment, run_name=f"{arm}-{seed}").info.run_id
            client.log_param(run, "activation", arm)
            client.set_tag(run, "seed", str(seed))
            for step, value in enumerate((score - 2, score + 0.5 + seed / 50, score + seed / 100)):
                client.log_metric(run, "val/psnr", value, step=step)
            client.set_terminated(run)
    deleted = client.create_run(experiment, run_name="relu-0").info.run_id
    client.log_param(deleted, "activation", "relu")
    client.delete_run(deleted)
    return tmp_path / "mlruns"


def restored(store):
    """Restore the run that was deleted, which has the name of another one."""
    (meta,) = (path for path in store.glob("*/*/meta.yaml") if "lifecycle_stage: deleted" in path.read_text())
    meta.write_text(meta.read_text().replace("lifecycle_stage: deleted", "lifecycle_stage: active"))
    return store


SETTINGS = {"arm": None, "seed": None, "metric": "val/psnr"}


def test_tensorboard_runs(logs, judged):
    (contrast,) = judged(logs, runs="{arm}/seed{seed}", **SETTINGS).contrasts()
    assert (contrast.arm, contrast.paired, contrast.seeds) == ("prelu", True, tuple(range(6)))
    assert contrast.control_values == pytest.approx([31 + seed / 100 for seed in range(6)], abs=1e-5)
    (best,) = judged(logs, runs="{arm}/seed{seed}", take="best", **SETTINGS).contrasts()
    assert best.control_values == pytest.approx([31.5 + seed / 50 for seed in range(6)], abs=1e-5)
    (lower,) = judged(
        logs, runs="{arm}/{run}", take="best", better="lower", **SETTINGS | {"metric": "loss"}
    ).contrasts()
    assert lower.paired is False
    assert lower.control_values[0] == pytest.approx(1 / 31.5, abs=1e-6)


def test_tensorboard_runs_that_do_not_fit(logs, judged):
    for settings, message in (
        ({"runs": "{arm}/run{seed}"}, "the pattern '{arm}/run{seed}' fits none of the runs: prelu/seed0"),
        ({"runs": "{model}/{seed}"}, "must name {arm}, and each field once"),
        (
            {"runs": "{arm}/seed{seed}", "metric": "val/pnsr"},
            "no run has a scalar 'val/pnsr'; did you mean 'val/psnr'?",
        ),
    ):
        with pytest.raises(TableError) as error:
            judged(logs, **(SETTINGS | settings))
        assert message in str(error.value)


def test_mlflow_runs(store, judged):
    settings = SETTINGS | {"arm": "activation", "seed": "seed"}
    (contrast,) = judged(store, **settings).contrasts()
    assert (contrast.arm, contrast.seeds) == ("prelu", tuple(range(6)))
    assert contrast.control_values == pytest.approx([31 + seed / 100 for seed in range(6)])
    (best,) = judged(store, take="best", **settings | {"arm": "params.activation", "seed": "tags.seed"}).contrasts()
    assert best.control_values == pytest.approx([31.5 + seed / 50 for seed in range(6)])
    (named,) = judged(store, runs="{arm}-{seed}", **SETTINGS).contrasts()
    assert named.differences == contrast.differences
    with pytest.raises(TableError, match=r"no run has a metric 'psnr'; did you mean 'val/psnr'\?"):
        judged(store, **settings | {"metric": "psnr"})
    with pytest.raises(TableError, match=r"several of relu, seed 0 \(run relu-0, run relu-0\)"):
        judged(restored(store), runs="{arm}-{seed}", **SETTINGS)


def test_an_empty_folder_is_no_table(tmp_path, judged):
    with pytest.raises(TableError, match="is no table that slopewise reads"):
        judged(tmp_path)


def test_the_best_value_ignores_what_is_not_finite():
    request = Request({"psnr": "higher", "loss": "lower"}, take="best")
    assert request.pick("psnr", [(0, 1.0), (1, float("inf")), (2, float("nan"))]) == 1.0
    assert request.pick("loss", [(0, 1.0), (1, 0.5), (2, 2.0)]) == 0.5
    assert json.dumps(request.pick("loss", [(0, float("nan"))])) == "NaN"
    assert Request({"psnr": "higher"}).pick("psnr", [(2, 3.0), (10, 4.0), (1, 9.0)]) == 4.0


@pytest.mark.parametrize(
    ("source", "suffix"),
    [(CsvSource, ".csv"), (CsvSource, ".tsv"), (ParquetSource, ".parquet"), (JsonLinesSource, ".jsonl")],
)
def test_sources_of_files_keep_the_contract(source, suffix, rows, save):
    check_table_source(source(), save(rows(), suffix), Request({"psnr": "higher"}))


def test_sources_of_folders_keep_the_contract(logs, store):
    request = Request({"val/psnr": "higher"}, runs="{arm}/seed{seed}")
    check_table_source(TensorBoardSource(), logs, request)
    check_table_source(MLflowSource(), store, Request({"val/psnr": "higher"}, runs="{arm}-{seed}"))
