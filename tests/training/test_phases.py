"""Rollouts of tracked things are the model's own; elsewhere damage is labelled and commands stay exact."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gwm_sim.model.dynamics import IMAGINED
from gwm_sim.model.state import NextFrame, Segment
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.build import build
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data
from gwm_sim.training.encoding import encode_all
from gwm_sim.training.phases.object_dynamics import OUTLIER, ObjectDynamicsPhase, robust
from gwm_sim.training.phases.phase import batch_generator
from gwm_sim.training.phases.renderer import RendererPhase
from gwm_sim.training.phases.video_dynamics import VideoDynamicsPhase, corrupt
from gwm_sim.training.pipeline import unexplained


@pytest.fixture
def phase(tiny_data: Path, tmp_path: Path) -> VideoDynamicsPhase:
    """Of a model of the same recordings, without their object positions."""
    data = load_training_data([tiny_data])
    schema = replace(data.schema, object_names=())
    data = replace(data, schema=schema, objects=data.objects[:, :0])
    config = TrainConfig(data=(tiny_data,), out=tmp_path, preset="tiny", steps=1, path="video")
    model = build(config, PRESETS["tiny"], data)
    codes = encode_all(model, data, tmp_path / "latents.safetensors")
    return VideoDynamicsPhase(model, data, codes, PRESETS["tiny"], seed=0)


@pytest.fixture
def tracked(tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> ObjectDynamicsPhase:
    data, model = load_training_data([tiny_data]), WorldModel.load(tiny_checkpoint, "cpu")
    data.residual = unexplained(model, data, encode_all(model, data, tmp_path / "latents.safetensors"))
    return ObjectDynamicsPhase(model, data, PRESETS["tiny"], seed=0)


@pytest.fixture
def renderer(tiny_data: Path, tmp_path: Path) -> RendererPhase:
    data = load_training_data([tiny_data])
    config = TrainConfig(data=(tiny_data,), out=tmp_path, preset="tiny", steps=1, drawing="latents")
    model = build(config, PRESETS["tiny"], data)
    return RendererPhase(
        model, data, encode_all(model, data, tmp_path / "latents.safetensors"), PRESETS["tiny"], seed=0
    )


Phases = ObjectDynamicsPhase | VideoDynamicsPhase | RendererPhase


@pytest.fixture(params=["phase", "tracked", "renderer"])
def any_phase(request: pytest.FixtureRequest) -> Phases:
    found: Phases = request.getfixturevalue(request.param)
    return found


def batch(phase: VideoDynamicsPhase) -> Segment:
    return phase.data.batch(phase.codes, phase.windows.first[:8], phase.preset.frames_per_window + 1)[0]


def test_damage_grows_with_its_level_and_spares_commands(phase: VideoDynamicsPhase) -> None:
    frames = batch(phase)
    damaged = corrupt(frames, phase.model, batch_generator(0, 1))
    clean = damaged.corruption == 0
    wrong = (damaged.codes != frames.codes).float().mean(dim=(2, 3))
    assert (wrong[clean] == 0).all()
    assert (wrong[damaged.corruption > 0.5] > 0).all()
    assert torch.equal(damaged.telemetry[clean], frames.telemetry[clean])
    commanded = phase.model.dynamics.command_telemetry
    assert torch.equal(damaged.telemetry[..., commanded], frames.telemetry[..., commanded])
    assert torch.equal(damaged.previous_codes[:, 1:], damaged.codes[:, :-1])


def test_imagined_history_is_what_a_rollout_gives(phase: VideoDynamicsPhase) -> None:
    true = batch(phase)
    history = phase.imagined(true, true, batch_generator(0, 3))
    context = int((history.corruption[0, :-1] == 0).sum())
    assert 2 <= context < phase.preset.frames_per_window
    assert (history.corruption[:, context:-1] == IMAGINED).all()
    rollout = phase.model.imagine(phase.model.begin(true.crop(slice(None, context))), true.actions[:, context - 1 : -2])
    assert torch.equal(history.codes[:, context:-1], rollout.codes)
    torch.testing.assert_close(history.telemetry[:, context:-1], rollout.telemetry)
    assert torch.equal(history.actions[:, :-1], true.actions[:, :-1])
    assert torch.equal(history.previous_codes[:, 1:-1], history.codes[:, :-2])


def test_batches_depend_on_seed_and_step_only(any_phase: Phases) -> None:
    first, again, other = (any_phase.loss(step, 0.5)[0].item() for step in (4, 4, 5))
    assert first == again
    assert first != other


def test_every_parameter_learns(any_phase: Phases) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = any_phase.loss(step=1, progress=1.0)
    loss.backward()
    idle = [name for name, p in any_phase.parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_object_dynamics_and_renderer_share_no_parameter(renderer: RendererPhase) -> None:
    tracked = ObjectDynamicsPhase(renderer.model, renderer.data, renderer.preset, seed=0)
    names = [{name for name, _ in phase.parameters()} for phase in (tracked, renderer)]
    assert not names[0] & names[1]
    dynamics = {name for name, _ in tracked.model.named_parameters() if name.startswith("dynamics.")}
    assert dynamics <= names[0] | names[1]


def test_an_error_is_blamed_on_the_step_that_made_it(
    tracked: ObjectDynamicsPhase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a free rollout the last error reaches the first prediction, through the positions alone."""
    made: list[Tensor] = []
    last: list[Tensor] = []
    advance, distance = tracked.dynamics.advance, tracked.distance

    def watched(
        segment: Segment, memory: Tensor, rest: bool = True, noise: Tensor | None = None
    ) -> tuple[NextFrame, Tensor]:
        predicted, memory = advance(segment, memory, rest, noise)
        predicted.objects.retain_grad()
        made.append(predicted.objects)
        return predicted, memory.detach()

    def noted(predicted: NextFrame, target: Segment, surely: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        last.append((predicted.objects[:, -1] - target.objects[:, -1]).abs().mean())
        return distance(predicted, target, surely)

    monkeypatch.setattr(tracked.dynamics, "advance", watched)
    monkeypatch.setattr(tracked, "distance", noted)
    tracked.follow(tracked.lengths[0], batch_generator(0, 0), free=False)
    assert len(made) == 1  # true states are read all at once
    made.clear()
    tracked.follow(tracked.lengths[0], batch_generator(0, 0), free=True)
    last[-1].backward()
    first = made[0].grad
    assert len(made) > 2 and first is not None
    assert first[:, CONTEXT - 1].any() and not first[:, : CONTEXT - 2].any()


def test_small_errors_count_in_full_and_large_ones_hardly_more() -> None:
    error = torch.tensor([0.0, 0.01, 100 * OUTLIER])
    counted = robust(error)
    assert counted[0] == 0 and counted[1] == pytest.approx(0.01, rel=1e-3)
    assert counted[2] < 5 * OUTLIER


def test_futures_are_scored_best_that_come_as_often_as_the_truth(tracked: ObjectDynamicsPhase) -> None:
    """Of a coin that truly falls either way, two tosses score better than the middle twice, or one side twice."""
    rows = 2000
    change, scale = tracked.dynamics.telemetry_change, tracked.dynamics.objects_change
    c = tracked.dynamics.config

    def toss(seed: int) -> Tensor:
        return 2.0 * (torch.rand(rows, 1, generator=torch.Generator().manual_seed(seed)) < 0.5) - 1

    def state(side: Tensor) -> NextFrame:
        objects = side[..., None, None] * scale * torch.ones(c.objects, 3)
        spread, residual = torch.zeros(rows, 1, c.objects), torch.zeros(rows, 1, 0)
        return NextFrame(None, side[..., None] * change, objects, spread, residual)

    truth = tracked.data.batch(None, torch.zeros(rows, dtype=torch.long), 1)[0]
    fallen = state(toss(0))
    truth = truth._replace(telemetry=fallen.telemetry, objects=fallen.objects)
    sides = {"tosses": (toss(1), toss(2)), "middle": (torch.zeros(rows, 1),) * 2, "heads": (torch.ones(rows, 1),) * 2}
    surely = torch.ones(rows, 1, c.objects)
    scores = {name: tracked.score(state(one), state(other), truth, surely) for name, (one, other) in sides.items()}
    for part in range(2):  # telemetry, objects
        assert scores["tosses"][part] < 0.8 * scores["middle"][part]
        assert scores["tosses"][part] < 0.8 * scores["heads"][part]
