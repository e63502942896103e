"""The conformance kit of alarm rules: it accepts a rule that keeps the contract, and names what another breaks."""

from itertools import count

import pytest

from slopewise.recording import SiteSample, SlopeSample, SlopeSummary
from slopewise.recording.alarms import Concerned, Finding, Past, RunRule, SiteRule, SlopeRule, threshold
from slopewise.testing import check_alarm_rule, synthetic_recording

DYING = synthetic_recording(layers=2).samples


class Dying(SiteRule):
    id = "dying-units"
    raised_when = "more than `dying` of a site's units are dead"
    advice = "Look at the layers below."
    charts = ("dead",)

    dying: int = threshold(2, "largest ordinary number of dead units")

    def judge(self, site: SiteSample, past: Past[SiteSample], /) -> Finding | None:
        return Finding(past.step, self.words(site)) if len(site.dead) > self.dying else None

    def words(self, site: SiteSample) -> str:
        return f"{len(site.dead)} dead"


class Shouting(Dying):
    id = "Dying Units"


class Silent(Dying):
    advice = "  "


class Elsewhere(Dying):
    charts = ("deaths",)  # type: ignore[assignment]


class Unchecked(Dying):
    def __post_init__(self) -> None:
        pass


class Long(Dying):
    def words(self, site: SiteSample) -> str:
        return "one line\nand another"


class Counting(Dying):
    calls = count()

    def words(self, site: SiteSample) -> str:
        return f"call {next(self.calls)}"


class Nervous(Dying):
    def judge(self, site: SiteSample, past: Past[SiteSample], /) -> Finding | None:
        return Finding(past.step, "a site")


class Failing(Dying):
    def judge(self, site: SiteSample, past: Past[SiteSample], /) -> Finding | None:
        return Finding(past.step, f"{1 / len(site.dead)}")


class Prophet(Dying):
    def judge(self, site: SiteSample, past: Past[SiteSample], /) -> Finding | None:
        return Finding(past.step + 1, "soon") if site.dead else None


class Nowhere(RunRule):
    id, raised_when, advice = "nowhere", "a unit is dead", "Look."

    def judge(self, sample, past, /):
        return Finding(past.step, "dead") if any(site.dead for site in sample.sites) else None


class Meaningless(Dying):
    def from_slopes(self, summary: SlopeSummary, /) -> Concerned | None:
        return None


BROKEN = {
    Shouting: "alarm rule Shouting: id must be lower-case words",
    Silent: "alarm rule Silent: advice must be one line of text",
    Elsewhere: r"the watch page has no charts \['deaths'\]; it has dead, ",
    Unchecked: "threshold dying accepts 0",
    Long: "evidence must be one line: 'one line\\\\nand another'",
    Counting: "is not pure: equal samples gave",
    Nervous: "is raised by a healthy run: step 1: dying-units at block0.act",
    Failing: "judge.. fails: .*ZeroDivisionError",
    Prophet: "since is 402 in step 401",
    Nowhere: "nowhere names '', which no sample has",
    Meaningless: r"from_slopes\(\) and meaning need each other",
}


def test_a_rule_that_keeps_the_contract() -> None:
    check_alarm_rule(Dying())
    check_alarm_rule(Dying(dying=4), DYING)


@pytest.mark.parametrize("rule", BROKEN)
def test_the_broken_part_of_the_contract_is_named(rule: type[Dying]) -> None:
    with pytest.raises(AssertionError, match=BROKEN[rule]):
        check_alarm_rule(rule(), DYING)


def test_samples_that_do_not_raise_the_alarm_check_nothing() -> None:
    with pytest.raises(AssertionError, match="dying-units is not raised in the alarming samples: pass samples"):
        check_alarm_rule(Dying(), synthetic_recording(layers=1).samples)


def test_slopes_alone_must_say_what_a_run_says() -> None:
    class Hasty(SlopeRule):
        id, raised_when, advice, meaning = "hasty", "a slope is negative", "Look.", "a slope is negative"

        def judge(self, layer: SlopeSample, past: Past[SlopeSample], /) -> Finding | None:
            many = layer.summary.negative > layer.summary.count // 2
            return Finding(past.step, "negative") if many else None

        def from_slopes(self, summary: SlopeSummary, /) -> Concerned | None:
            return Concerned(summary.negative) if summary.negative else None

    with pytest.raises(
        AssertionError, match=r"hasty: from_slopes\(\) gives Concerned\(slopes=1, .* a run .* gives \[\]"
    ):
        check_alarm_rule(Hasty())
