"""`benchmarks/mirror.py` makes what the twin would have recorded had left been right."""

from dataclasses import replace
from pathlib import Path

import mirror
import numpy as np

from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.envs.blocks.initial_state import draw_initial_state
from gwm_sim.envs.blocks.mujoco.scene import make_model
from gwm_sim.envs.blocks.mujoco.simulation import Simulation
from gwm_sim.envs.blocks.spec import PROPERTY_DEFAULTS
from gwm_sim.envs.blocks.tasks import TASK

FLIP = np.array([1.0, -1.0, 1.0])


def test_the_twin_mirrored_does_what_the_mirror_shows() -> None:
    """A cube is gripped off its middle, turned by that, lifted and let fall, in both worlds at once."""
    start = draw_initial_state(TASK["grasp"], np.random.default_rng(5))
    cube = start.cubes[0]
    start = replace(start, end_effector=np.array([cube[0] + 0.008, cube[1], 0.12]))
    other = replace(start, end_effector=start.end_effector * FLIP, cubes=start.cubes * FLIP[:2], yaws=-start.yaws)
    rows = np.arange(2)
    simulation = Simulation(make_model("fast"), 2)
    simulation.reset(rows, [start, other], [PROPERTY_DEFAULTS] * 2)
    moves = [(0, 0.1, -1, -1)] * 4 + [(0, 0, 0, 1)] * 4 + [(0.5, 1, 1, 1)] * 4 + [(0, 1, 0, -1)] * 4
    actions = np.array(moves, np.float32)
    telemetry, objects = [simulation.telemetry()], [simulation.objects()]
    for action in actions:
        simulation.step(rows, np.stack([action, action * [1, -1, 1, 1]]))
        telemetry.append(simulation.telemetry())
        objects.append(simulation.objects())
    robot, cubes = np.stack(telemetry, axis=1), np.stack(objects, axis=1)  # (2, T, P) and (2, T, K, 7)
    assert np.ptp(cubes[0, :, 0, 2]) > 0.03  # it was lifted
    assert np.abs(robot[0] - robot[1]).max() > 0.1
    recorded = Episode({}, robot[0], actions, {}, cubes[0], {}, None, "")
    mirrored = mirror.mirror(recorded)
    np.testing.assert_allclose(mirrored.telemetry, robot[1], atol=2e-3)
    assert mirrored.objects is not None
    np.testing.assert_allclose(mirrored.objects, cubes[1], atol=2e-3)
    again = mirror.mirror(mirrored)
    for name in ("telemetry", "actions", "objects"):
        np.testing.assert_allclose(getattr(again, name), getattr(recorded, name), atol=1e-6)


def test_a_mirrored_file_keeps_numbers_and_labels_and_has_no_pictures(tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mirrored.hdf5"
    assert mirror.main(mirror.MirrorConfig(motion=tiny_data, out=out)) == 0
    with EpisodeFile(tiny_data) as file, EpisodeFile(out) as mirrored:
        assert not mirrored.schema.cameras and len(mirrored) == len(file)
        for k in range(len(file)):
            one, other = file[k], mirrored[k]
            assert not other.frames and other.seed == one.seed and other.properties == one.properties
            for task, labels in one.labels.items():
                np.testing.assert_array_equal(other.labels[task].success, labels.success)
        digest = mirrored.digest()
    assert mirror.main(mirror.MirrorConfig(motion=tiny_data, out=out)) == 0  # nothing is missing
    assert EpisodeFile(out).digest() == digest
