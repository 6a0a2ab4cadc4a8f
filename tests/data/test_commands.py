"""What a controller is told: JSON of commands that integrate is what it was before there were others."""

import json
from dataclasses import replace

from recordings import make_schema

from gwm_sim.data.schema import Command, Schema

INTEGRATED = Command(telemetry=1, action=0, scale=0.1, measured=0)
TARGET = Command(telemetry=0, action=0, scale=1.0, measured=0, absolute=True)


def test_json_of_commands_that_integrate_is_that_of_older_versions() -> None:
    before = '{"telemetry": 1, "action": 0, "scale": 0.1, "measured": 0}'
    assert json.dumps(INTEGRATED.to_json()) == before
    assert before in json.dumps(replace(make_schema(), commands=(INTEGRATED,)).to_json())


def test_absolute_commands_survive_json() -> None:
    schema = replace(make_schema(), commands=(TARGET, replace(INTEGRATED, action=1)))
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))).commands == schema.commands


def test_a_target_that_is_followed_needs_no_column_of_its_own() -> None:
    assert INTEGRATED.reported
    assert not TARGET.reported
    assert replace(TARGET, telemetry=2).reported
