"""Studies with markup and scripts in every text that a user, a model, a file or an error can put into them."""

from dataclasses import replace

from slopewise.records import AlarmRecord, MetricRecord, StudyRecord, TrialRecord
from slopewise.testing import synthetic_study, with_cells

SCRIPT = "<script>window.hit = 1</script>"
IMAGE = "<img src=x onerror='window.hit = 1'>"
BREAK = '"></script></pre></details><script>window.hit = 1</script>'
TEMPLATE = "{{ 7 * 7 }} %{x} &lt;b> <b>bold</b>"
LINK = "<a href=\"javascript:window.hit = 1\" autofocus onfocus='window.hit = 1'>go</a>"
BAD = (SCRIPT, IMAGE, BREAK, TEMPLATE, LINK)
INERT = "[...document.querySelectorAll('main script:not([type=\"application/json\"]), main img, main b b, a[onfocus]')]"


def hostile_study(seeds: int = 4) -> StudyRecord:
    """Return a study with cells, diverged and failed trials, and alarms, with hostile text wherever there is any."""
    arms = ("relu", f"prelu {SCRIPT}", f"prelu_{IMAGE}", BREAK)
    study = synthetic_study(arms, seeds, epochs=3, diverged={arms[1]: 1}, failed={arms[2]: 1}, classes=3)
    study = with_cells(study, lr=[0.01, 0.1], factors={"train.epochs": [2]})
    loss = next(metric for metric in study.metrics if metric.name == "loss")
    classes = [SCRIPT, IMAGE, BREAK]
    return replace(
        study,
        trials=tuple(map(_poisoned, study.trials)),
        cells=tuple(replace(cell, trials=tuple(map(_poisoned, cell.trials))) for cell in study.cells),
        metrics=(*(_titled(metric) for metric in study.metrics if metric is not loss), replace(loss, unit=IMAGE)),
        spec={
            **study.spec,
            "name": f"study {SCRIPT}{BREAK}",
            "train": {**study.spec["train"], "function": LINK, "options": {SCRIPT: IMAGE}},
            "model": {"name": IMAGE, "options": {BREAK: [SCRIPT, {LINK: BREAK}]}},
        },
        data={**study.data, "name": SCRIPT, "classes": classes, "path": f"/{BREAK}", "note": LINK},
        environments={key: {**facts, "cpu": IMAGE, BREAK: SCRIPT} for key, facts in study.environments.items()},
        damaged=(f"the trial {BREAK}",),
    )


def _titled(metric: MetricRecord) -> MetricRecord:
    return replace(metric, title=f"accuracy {TEMPLATE}", definition=BREAK)


def _poisoned(trial: TrialRecord) -> TrialRecord:
    layers = {f"act{number}": f"act{number}{BAD[number % len(BAD)]}" for number in range(1, 7)}
    return replace(
        trial,
        error=trial.error and f"{trial.error}{BREAK}",
        diverged_cause=trial.diverged_cause and f"{trial.diverged_cause} {BREAK}",
        sites=tuple(replace(site, layer=layers[site.layer]) for site in trial.sites),
        gradients=tuple(replace(row, layer=f"{row.layer}{IMAGE}") for row in trial.gradients),
        operator_costs=tuple(replace(row, reason=BREAK) for row in trial.operator_costs),
        alarms=(AlarmRecord(f"own {IMAGE}", layers["act1"], 40, 20, f"evidence {BREAK}"),)
        * (trial.status == "finished"),
    )
