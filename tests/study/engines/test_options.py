"""Engines by name, and their options."""

import pytest

from slopewise.errors import EngineError, SpecError
from slopewise.machine import cores
from slopewise.study import Study, StudySpec, parse_spec
from slopewise.study.engines import Engine, LocalEngine, Needs, Option, make_engine, register_engine


class Cluster(LocalEngine):
    options = (
        Option("address", str, "Address.", "auto"),
        Option("share", float, "Share of a GPU.", 1.0, least=0.1, most=1),
        Option("quiet", bool, "Print nothing.", default=False),
    )

    def __init__(self, **options: object) -> None:
        Engine.__init__(self, **options)


def test_options_are_read_from_text_and_from_values() -> None:
    register_engine("test_cluster", Cluster)
    default, text = make_engine("test_cluster"), make_engine("test_cluster", {"share": "0.25", "quiet": "yes"})
    assert (default.address, default.share, default.quiet) == ("auto", 1.0, False)
    assert (text.address, text.share, text.quiet) == ("auto", 0.25, True)
    assert make_engine("test_cluster", {"share": 1, "address": "12:13"}).address == "12:13"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adress": "x"}, "^Cluster has no option 'adress'; did you mean 'address'"),
        ({"share": "much"}, "^share: a value of type float, not 'much'"),
        ({"share": True}, "^share: a value of type float, not True"),
        ({"share": "nan"}, r"^share: at least 0.1 and at most 1, not nan"),
        ({"quiet": "maybe"}, "^quiet: a value of type bool, not 'maybe'"),
        ({"address": 3}, "^address: a value of type str, not 3"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        Cluster(**options)


def test_engines_by_reference_and_by_mistake() -> None:
    assert make_engine(f"{LocalEngine.__module__}:LocalEngine", {"workers": "2"}).workers == 2
    with pytest.raises(EngineError, match=r"is no class derived from slopewise.study.engines.Engine"):
        make_engine("os:getcwd")
    with pytest.raises(SpecError, match=r"cannot import module 'no_such'"):
        make_engine("no_such:Engine")
    with pytest.raises(EngineError, match=r"^workers: give options to the engine where it is made"):
        make_engine(LocalEngine(), {"workers": 2})
    with pytest.raises(EngineError, match=r"^LocalEngine has no option 'devices'"):
        make_engine("local", {"devices": 2})
    with pytest.raises(EngineError, match=r"^workers: given twice"):
        Study(arms="relu", seeds=1).prepare([], workers=2, engine_options={"workers": 2})


def test_a_trial_of_several_processes_takes_the_cores_of_all() -> None:
    one, two = StudySpec(hardware={"threads": 3}), StudySpec(hardware={"devices": 2, "strategy": "ddp_spawn"})
    gpu = StudySpec(hardware={"accelerator": "cuda"})
    assert [Needs.of(spec) for spec in (one, two, gpu)] == [Needs(3, 0), Needs(2, 0), Needs(1, 1)]
    assert LocalEngine(workers=5).side_by_side(two, 3) == 3
    assert LocalEngine().capacity(StudySpec(hardware={"threads": 10**6})) == 1


def test_a_trial_takes_what_the_spec_reserves_for_it() -> None:
    share = StudySpec(hardware={"cpus_per_trial": 0.1, "gpus_per_trial": 0.25})
    assert Needs.of(share).room(0.3, 9.0) == 3
    assert Needs.of(share).room(8.0, 1.0) == 4
    assert LocalEngine().capacity(StudySpec(hardware={"cpus_per_trial": 0.5})) == 2 * cores()
    with pytest.raises(SpecError, match=r"^hardware.gpus_per_trial: above 1 a whole number"):
        parse_spec({"hardware": {"gpus_per_trial": 1.5}})
