"""Strips of the worst and of the usual rollouts of a world model on test episodes, so that nobody sees the best only.

python benchmarks/rollouts.py --data TEST.hdf5 --out docs/worst.png
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from program import launch

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.evaluation.open_loop import ModelPredictor, OpenLoopTest
from gwm_sim.media.sheets import write_comparison
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.progress import progress

Array = NDArray[Any]


@dataclass(frozen=True)
class RolloutsConfig:
    """Draw rollouts from the beginnings of test episodes, chosen by how wrong they are."""

    data: Path
    """Test episodes."""
    out: Path
    """Picture (.png) or film to write."""
    model: str = "gwm-mini"
    """Name or folder of the model."""
    which: Literal["worst", "usual"] = "worst"
    """The ones of the largest error, or those around the median."""
    count: int = 4
    """Rollouts to draw."""
    steps: int = 80
    """Length of a rollout."""


def main(config: RolloutsConfig) -> None:
    """Roll out every episode's beginning, rank by the mean error of the object positions, and draw."""
    model = WorldModel.load(config.model, "cpu")
    predict = ModelPredictor(model)
    drawn: list[tuple[float, str, tuple[Array, Array]]] = []
    with EpisodeFile(config.data) as file, progress("rollouts") as show:
        check_fit(model, file.schema, str(config.data))
        test = OpenLoopTest(file, [config.steps], cameras=model.config.cameras, properties=model.config.properties)
        for episode in range(test.episodes):
            window = test.opening(episode, config.steps)
            predicted = predict(window, window.actions, range(1, window.actions.shape[1] + 1))
            assert predicted.course_objects is not None
            error = np.linalg.norm(predicted.course_objects - window.course_objects[..., :3], axis=-1).mean()
            label = f"{episode} {file.policies[episode]}"
            drawn.append((100 * float(error), label, (window.true_frames[0], predicted.frames[0])))
            show((episode + 1) / test.episodes, f"{episode + 1} of {test.episodes}")
        drawn.sort(key=lambda item: -item[0])
        first = 0 if config.which == "worst" else (len(drawn) - config.count) // 2
        chosen = drawn[max(0, first) : first + config.count]
        write_comparison(config.out, {label: pair for _, label, pair in chosen}, file.schema.rate)
    for error, label, _ in chosen:
        print(f"episode {label}: mean error of the object positions {error:.1f} cm")


if __name__ == "__main__":
    launch(main, RolloutsConfig)
