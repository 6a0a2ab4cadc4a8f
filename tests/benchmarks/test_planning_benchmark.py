"""`benchmarks/planning.py`: what is left out, what is kept, and a model that borrows its guide."""

import json
from pathlib import Path

import planning
import pytest


def test_no_fewer_leaves_the_other_planners_out() -> None:
    config = planning.PlanningConfig(episodes=3, fewer=0, seed=300)
    jobs = planning.jobs_of(config)
    assert set(jobs) == {f"{task}/{system}" for task in ("reach", "grasp", "stack") for system in ("icem", "prior")}
    assert [job.seed for job in jobs["stack/icem"]] == [300, 301, 302]
    more = planning.jobs_of(planning.PlanningConfig(episodes=3, fewer=1))
    assert (
        set(jobs) < set(more)
        and len(more["moment-25/search-fast"]) == 3
        and len(more["moment-25/search-simulator"]) == 1
    )


@pytest.mark.slow
def test_a_borrowed_guide_plans_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "planning.json"
    config = planning.PlanningConfig(model="gwm-preview", episodes=1, fewer=0, timed=1, workers=1, json=path)
    planning.main(config)
    report = json.loads(path.read_text())
    assert report["model"] == "gwm-preview" and set(report["plan_ms"]) == {"icem", "prior"}
    assert {name: result["runs"] for name, result in report["results"].items()} == dict.fromkeys(
        planning.jobs_of(config), 1
    )
    assert report["results"]["reach/icem"]["success_rate"] == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "run", lambda *_: pytest.fail("done again"))
        planning.main(config)
    assert json.loads(path.read_text()) == report
