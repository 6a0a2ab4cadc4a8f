"""Imagined objects are those of the model: neither measured nor tracked, of the tracker that it learned from."""

import dataclasses
from pathlib import Path

from exporting import export
from models import make_model
from tracked import DIGEST, tracked_schema, write_tracked

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.model.imagination import imagined_schema


def test_objects_of_a_model_that_learned_tracked_ones_are_imagined(tmp_path: Path) -> None:
    recorded = write_tracked(tmp_path / "recorded.hdf5", range(1), settings={"tracker": "another", "seed": 0})
    model = make_model(schema=tracked_schema())
    with EpisodeFile(recorded) as file:
        imagined = imagined_schema(model, file)
    assert (imagined.provenance, imagined.tracked) == ("imagined", ())
    assert imagined.settings["tracker"] == DIGEST and imagined.settings["seed"] == 0
    assert imagined.other_things(model.config.schema) == []


def test_what_is_imagined_from_raw_recordings_is_no_raw_recording(tmp_path: Path) -> None:
    raw = export("raw", write_tracked(tmp_path / "recorded.hdf5", range(1)), tmp_path / "raw.hdf5", calibration=True)
    model = make_model(objects=0, schema=dataclasses.replace(tracked_schema(), object_frame="image"))
    with EpisodeFile(raw) as file:
        imagined = imagined_schema(model, file)
    assert not imagined.object_names and not imagined.settings.keys() & {"raw", "tracker"}
