"""Pages of the studies in docs/studies, each made of its compact records, so that prose and numbers cannot part.

python tools/study_pages.py           # writes the pages
python tools/study_pages.py --check   # fails if a page is not what this would write

Remarks in studies/NAME.md are set into the page; {{ says("batch-norm") }} in them quotes its ledger (`quotes.py`), and
{{ contrast("elu").diverged }} its contrasts. studies/answers.md.j2 becomes docs/answers.md in the same way.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jinja2

sys.path.insert(0, str(Path(__file__).parent))
from compact_records import read
from glossary_links import with_links
from quotes import SHOWN, speech

from slopewise.analysis import Contrast, analyse, sentence, tuning, verdict_words
from slopewise.analysis.claims import Evidence, Finding, false_verdicts, ledger
from slopewise.analysis.claims._factors import rates_apart
from slopewise.drawing import count, listing
from slopewise.records import StudyRecord, amount
from slopewise.report.study.info._ledger import arms_words, ends_words, figure_words

ROOT = Path(__file__).parents[1]
ANSWERED = "textbook-digits"  # the study that docs/answers.md quotes unless it names another
RECORDS, STUDIES, PAGES = ROOT / "studies" / "records", ROOT / "studies", ROOT / "docs" / "studies"
# Means of the learned slopes of 13 layers, per channel, on ImageNet: He et al. 2015 (arXiv 1502.01852), table 1.
HE_2015 = (0.596, 0.321, 0.204, 0.294, 0.464, 0.196, 0.152, 0.145, 0.124, 0.134, 0.198, 0.074, 0.075)


def page(name: str, record: StudyRecord) -> str:
    """Return the page of a study as Markdown."""
    entries = ledger(record)
    parts = [
        f"# {record.spec.get('name', name)}\n",
        _setting(name, record),
        _remarks(name, record, entries),
        f"## Claims\n\n{_ledger(entries)}",
        f"## Arms\n\n{_arms(record)}",
        _tuned(record),
        _slopes(record),
        _pictures(name),
    ]
    return "\n".join(part for part in parts if part)


def _setting(name: str, record: StudyRecord) -> str:
    trials = record.every_trial
    hours = sum(trial.seconds or 0.0 for trial in trials) / 3600
    diverged, failed = sum(t.diverged for t in trials), sum(t.status == "failed" for t in trials)
    places = sorted({f"{facts.get('cpu')}, PyTorch {facts.get('torch')}" for facts in record.environments.values()})
    per_arm = len(record.seeds) if not record.looks else f"at most {len(record.seeds)}"
    return (
        f"<!-- tools/study_pages.py writes this page from studies/records/{name}.json.gz -->\n\n"
        f"<!-- not run: takes {hours:.1f} hours of one core -->\n"
        f"```bash\nslopewise run studies/{name}.toml --out {name}\nslopewise claims {name}\n```\n\n"
        f"Data: {record.data.get('name')}, {record.data.get('train_and_validation_images')} images to train and "
        f"validate on, {record.data.get('test_images')} to test on. Network: `{record.spec['model']['name']}`. "
        f"Seeds per arm: {per_arm}. Margin: {amount(record.margin, record.primary.unit)}. Trials: {len(trials)}, of "
        f"which {diverged} diverged and {failed} failed; {hours:.1f} hours of trials in all, "
        f"{count(record.spec['hardware']['threads'], 'thread')} each, on {'; '.join(places)}.\n"
    )


def _remarks(name: str, record: StudyRecord, entries: Sequence[Evidence]) -> str:
    path = STUDIES / f"{name}.md"
    if not path.exists():
        return ""
    template = jinja2.Template(path.read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined)

    def contrast(arm: str, cell: str = "") -> Contrast:
        study = next((record.in_cell(each) for each in record.cells if each.key == cell), record)
        return next(each for each in analyse(study).primary if each.arm == arm)

    means = {summary.arm: summary.score_mean for summary in analyse(record).arms}
    return template.render(**speech({name: entries}, name), contrast=contrast, mean=means.__getitem__) + "\n"


def _ledger(entries: Iterable[Evidence]) -> str:
    entries = list(entries)
    tested = [entry for entry in entries if entry.verdict != "not tested"]
    verdicts = [
        f"| {entry.number} | {entry.statement} | **{entry.verdict}** | [rule](../claims.md#{entry.claim}) |\n"
        for entry in tested
    ]
    rows = [_row(entry, finding) for entry in tested for finding in (*entry.parts, *entry.also)]
    lacking = [f"{entry.number} ({entry.claim})" for entry in entries if entry.verdict == "not tested"]
    return (
        f"| | claim | verdict | |\n| --- | --- | --- | --- |\n{''.join(verdicts)}\n"
        f"Each claim has its own error rate of 5 %, so about {false_verdicts(entries):.1f} of them may be supported or "
        f"contradicted by chance alone. {f'This study has no design for {listing(lacking)}.' if lacking else ''}\n\n"
        "### Part by part\n\n| | part | arms | verdict | figure | 95 % interval | basis |\n"
        f"| --- | --- | --- | --- | --- | --- | --- |\n{''.join(rows)}"
    )


def _row(entry: Evidence, finding: Finding) -> str:
    figures = figure_words(finding), ends_words(finding), finding.basis
    cells = str(entry.number), finding.part, arms_words(finding), f"**{finding.verdict}**", *figures
    return f"| {' | '.join(cells)} |\n"


def _arms(record: StudyRecord) -> str:
    analysis = analyse(record)
    return "".join(f"- {sentence(contrast)}\n" for contrast in analysis.primary)


def _tuned(record: StudyRecord) -> str:
    rows = [
        f"| {each.arm} | {each.rate:g} | {len(each.rates)} | {sum(each.diverged)} |\n"
        for each in tuning(record)
        if each.rate is not None
    ]
    if not rows:
        return ""
    head = "| arm | learning rate | rates tried | trials that diverged |\n| --- | --- | --- | --- |\n"
    return f"## Tuned learning rates\n\n{head}{''.join(rows)}"


def _slopes(record: StudyRecord) -> str:
    arm = next((arm["name"] for arm in record.spec["arms"] if arm["activation"] == "prelu_channel"), None)
    finals = [
        [site.slope_median for site in trial.sites if site.epoch == max(s.epoch for s in trial.sites) and site.slopes]
        for trial in record.trials
        if trial.arm == arm and trial.sites and not trial.diverged
    ]
    if not finals or not finals[0]:
        return ""
    ours = [statistics.fmean(values) for values in zip(*finals, strict=True)]  # type: ignore[arg-type]
    first = "largest" if max(ours) == ours[0] else "not the largest"
    published = (
        "\nHe et al. 2015 (arXiv 1502.01852), ImageNet, mean by layer: "
        f"{', '.join(f'{value:.2f}' for value in HE_2015)}. Their first is the largest.\n"
    )
    return (
        f"## Slopes by layer\n\n`{arm}`, mean over {len(finals)} trials of each layer's median, first layer first: "
        f"{', '.join(f'{value:.2f}' for value in ours)}. The first is {first}.\n"
        f"{published if record.spec['task']['kind'] == 'classification' else ''}"
    )


def _pictures(name: str) -> str:
    """Return links to the pictures of a study, which `tools/screenshot_report.py` takes of its report."""
    pictures = sorted((PAGES / name).glob("*.png"))
    return "".join(f"![{path.stem} of the study]({name}/{path.name})\n\n" for path in pictures).rstrip(
        "\n"
    ) + "\n" * bool(pictures)


def overview(records: Mapping[str, StudyRecord]) -> str:
    """Return a table with the contrast of one arm with ReLU in every study, and under each value of its factors."""
    head = "| study | | seeds | difference | 95 % interval | verdict |\n| --- | --- | --- | --- | --- | --- |\n"
    rows = []
    for name, record in records.items():
        title = f"[{record.spec['name']}](studies/{name}.md)"
        settings = [("as it is", record)]
        settings += [(f"`{cell.key}`", record.in_cell(cell)) for cell in record.cells_of("factors")]
        for setting, study in settings:
            for contrast in analyse(study).primary:
                if contrast.arm != SHOWN or contrast.difference is None or contrast.control != "relu":
                    continue
                low, high = (f"{end:+.{contrast.digits}f}" for end in contrast.interval or (math.nan, math.nan))
                difference = amount(f"{contrast.difference:+.{contrast.digits}f}", contrast.unit)
                apart = " (other rate)" if study is not record and rates_apart(record, SHOWN, "relu") else ""
                rows.append(
                    f"| {title} | {setting} | {len(contrast.seeds)} | {difference} | {low} to {high} | "
                    f"{verdict_words(contrast)}{apart} |\n"
                )
    return head + "".join(rows)


def answers(records: Mapping[str, StudyRecord]) -> str:
    """Return docs/answers.md, with the verdicts of the studies' ledgers in the places that name them."""
    ledgers = {name: ledger(record) for name, record in records.items()}
    cells = records[ANSWERED].cells
    sizes = [cell.settings["data.train_size"] for cell in cells if "data.train_size" in cell.settings]
    template = jinja2.Template(
        (STUDIES / "answers.md.j2").read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined
    )
    smallest = f"{min(sizes)} images" if sizes else "all images"
    return template.render(**speech(ledgers, ANSWERED), smallest=smallest, overview=overview(records)) + "\n"


def pages() -> dict[Path, str]:
    """Return every page by its path."""
    records = {path.name.removesuffix(".json.gz"): read(path) for path in sorted(RECORDS.glob("*.json.gz"))}
    texts = {PAGES / f"{name}.md": page(name, record) for name, record in records.items()}
    if ANSWERED in records:
        texts[ROOT / "docs" / "answers.md"] = answers(records)
    return {path: with_links(path, text) for path, text in texts.items()}


def main() -> None:
    """Write the pages, or check them."""
    stale = []
    for target, text in pages().items():
        if "--check" not in sys.argv:
            PAGES.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        elif not target.exists() or target.read_text(encoding="utf-8") != text:
            stale.append(str(target.relative_to(ROOT)))
    if stale:
        raise SystemExit(f"{', '.join(stale)}: not what the records give; run `python tools/study_pages.py`")


if __name__ == "__main__":
    main()
