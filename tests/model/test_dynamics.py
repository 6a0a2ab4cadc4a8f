"""The dynamics' promises: no look into the future, a window, independent rows, memory that equals whole sequences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from models import ACTIONS, OBJECTS, PROPERTIES, TELEMETRY, WINDOW, make_context, make_model
from torch import Tensor

from gwm_sim.data.schema import Command
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.dynamics import REST, TELEMETRY_REST
from gwm_sim.model.latents import choose, normalised_entropy
from gwm_sim.model.rendering.renderer import project
from gwm_sim.model.state import NextFrame, PhysicalState, Segment
from gwm_sim.model.world_model import WorldModel


def frames_of(rows: int, length: int, seed: int = 0, objects: int = OBJECTS) -> Segment:
    model = make_model(objects)
    pictures, telemetry, actions = make_context(model, rows, length, seed)
    read = model.read(pictures, telemetry, actions)
    return read._replace(
        actions=2 * torch.rand(rows, length, ACTIONS, generator=torch.Generator().manual_seed(seed)) - 1
    )


def changed_at(segment: Segment, t: int) -> Segment:
    """The same frames, different in everything at time t."""
    codes, telemetry, objects = segment.codes.clone(), segment.telemetry.clone(), segment.objects.clone()
    codes[:, t] = 4 - codes[:, t]
    telemetry[:, t] += 0.3
    objects[:, t] += 0.05
    return segment.changed(codes=codes, telemetry=telemetry, objects=objects)


def changed_codes(segment: Segment) -> Segment:
    """The same frames with other pictures."""
    return segment.changed(codes=4 - segment.codes)


def drawn(prediction: NextFrame) -> Tensor:
    assert prediction.logits is not None
    return prediction.logits


def followed(model: WorldModel, segment: Segment) -> list[NextFrame]:
    """What is predicted of every frame, step by step."""
    rows, length = segment.telemetry.shape[:2]
    memory, age = model.dynamics.blank_memory(rows), torch.zeros(rows, dtype=torch.long)
    predictions = []
    for t in range(length):
        prediction, memory = model.dynamics.step(segment.crop(slice(t, t + 1)), memory, age)
        predictions.append(prediction)
        age = age + 1
    return predictions


def test_prediction_is_causal() -> None:
    model, frames = make_model(objects=0), frames_of(2, 8, objects=0)
    before = model.dynamics(frames)
    after = model.dynamics(changed_at(frames, 5))
    for a, b in zip(before, after, strict=True):
        if a is None or b is None:
            continue
        assert torch.equal(a[:, :5], b[:, :5])
        assert not a.numel() or not torch.equal(a[:, 5:], b[:, 5:])


def test_prediction_ends_at_the_window() -> None:
    """Two time layers look back `window` frames each, and a frame knows its predecessor: older ones change nothing."""
    model = make_model(objects=0)
    length = 2 * WINDOW + 4
    frames = frames_of(1, length, objects=0)
    before = model.dynamics(frames)
    after = model.dynamics(changed_at(frames, 0))
    reach = 2 * (WINDOW - 1) + 1
    assert torch.equal(drawn(before)[:, reach + 1 :], drawn(after)[:, reach + 1 :])
    assert not torch.equal(drawn(before)[:, reach], drawn(after)[:, reach])


def test_ring_of_memory_equals_whole_sequences() -> None:
    """Step by step, far beyond the size of the ring, gives what one pass over the whole sequence gives."""
    model, frames = make_model(objects=0), frames_of(2, 3 * WINDOW + 1, objects=0)
    whole = model.dynamics(frames)
    for t, step in enumerate(followed(model, frames)):
        torch.testing.assert_close(drawn(step)[:, 0], drawn(whole)[:, t], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(step.telemetry[:, 0], whole.telemetry[:, t], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("objects", [OBJECTS, 0])
def test_rows_are_independent(objects: int) -> None:
    model, frames = make_model(objects), frames_of(3, 5, objects=objects)
    alone = Segment(*(value[1:2] for value in frames))
    for whole, single in zip(followed(model, frames), followed(model, alone), strict=True):
        torch.testing.assert_close(drawn(whole)[1:2], drawn(single), rtol=1e-3, atol=1e-4)
        for name in ("telemetry", "objects", "spread"):
            torch.testing.assert_close(getattr(whole, name)[1:2], getattr(single, name), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("objects", [OBJECTS, 0])
def test_what_is_remembered_of_a_context_equals_its_reading_step_by_step(objects: int) -> None:
    model, frames = make_model(objects), frames_of(2, 11, objects=objects)
    last, past = frames.crop(slice(-1, None)), frames.crop(slice(None, -1))
    prediction, _ = model.dynamics.step(last, model.dynamics.remember(past), torch.full((2,), 10))
    stepwise = followed(model, frames)[-1]
    torch.testing.assert_close(prediction.telemetry, stepwise.telemetry, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(drawn(prediction), drawn(stepwise), rtol=1e-3, atol=1e-3)


def test_commands_are_integrated_exactly_and_clipped() -> None:
    dynamics = make_model().dynamics
    telemetry = torch.tensor([[0.0, 0.0, 0.0, 0.5, 0.95]])
    commands = dynamics.next_commands(telemetry, torch.tensor([[-1.0, 1.0, 0.0]]))
    torch.testing.assert_close(commands, torch.tensor([[0.4, 1.0]]))  # bounds of the test model: 0 to 1


def test_what_is_rendered_from_the_state_alone_depends_on_nothing_else() -> None:
    model, frames = make_model(), frames_of(2, 3)
    dynamics, renderer = model.dynamics, model.dynamics.painter
    before = PhysicalState(frames.telemetry, frames.objects)
    physical = before._replace(telemetry=frames.telemetry + 0.1)
    conditioning = dynamics.conditioning(physical, before)
    alone = renderer.render_state(conditioning)
    everywhere = torch.ones(2, 3, dtype=torch.bool)
    torch.testing.assert_close(renderer.render_mixed(conditioning, changed_codes(frames), everywhere), alone)
    moved = physical._replace(objects=physical.objects + 0.05)
    assert not torch.equal(renderer.render_state(dynamics.conditioning(moved, before)), alone)


def test_the_renderer_looks_at_the_past_picture_but_where_it_is_told_not_to() -> None:
    model, frames = make_model(), frames_of(2, 3)
    renderer, alone = model.dynamics.painter, torch.zeros(2, 3, dtype=torch.bool)
    conditioning = model.dynamics.conditioning(PhysicalState(frames.telemetry, frames.objects + 0.05), frames)
    seen = renderer.render_mixed(conditioning, frames, alone)
    alone[1, 2] = True
    partly = renderer.render_mixed(conditioning, frames, alone)
    assert torch.equal(seen[0], partly[0])
    torch.testing.assert_close(partly[1, 2], renderer.render_state(conditioning)[1, 2])


def test_a_cube_looks_alike_to_a_token_wherever_it_lies() -> None:
    """An object a token further to the right is to each token what it was to the one on its left."""
    model = make_model()
    renderer, camera = model.dynamics.painter, model.config.schema.cameras[model.config.camera]
    middle = torch.tensor([0.5, 0.0, 0.0])
    depth, aside = float(camera.depth(middle.numpy())), torch.tensor(camera.rotation[:, 0]).float()
    token = model.config.tokenizer.token
    step = token * depth / camera.focal_length * aside  # to the right by one token, at the same depth
    places = (x.expand(1, 1, 1, 3) for x in (middle, middle + step))
    first, second = (renderer.places(x, x, x, x, middle) for x in places)
    rows, columns = model.config.tokenizer.grid
    first, second = (x.view(rows, columns, -1) for x in (first, second))
    assert columns > 1
    torch.testing.assert_close(second[:, 1:], first[:, :-1], atol=1e-3, rtol=1e-3)
    assert not torch.allclose(second, first, atol=0.1)


def test_points_are_projected_as_the_camera_does_even_in_half_precision() -> None:
    model = make_model()
    camera = model.config.schema.cameras[model.config.camera]
    points = torch.tensor([[0.5, 0.1, 0.02], [0.4, -0.2, 0.1]])
    with torch.autocast("cpu", torch.bfloat16):
        tokens, depth = project(model.dynamics.painter.view[0], points)
    token = model.config.tokenizer.token
    pixels = token * tokens + (token - 1) / 2
    np.testing.assert_allclose(pixels, camera.project(points.numpy()), atol=1e-2)
    np.testing.assert_allclose(depth, camera.depth(points.numpy()), atol=1e-4)


def test_what_happens_depends_on_the_picture_only_where_nothing_is_tracked() -> None:
    for objects, same in ((OBJECTS, True), (0, False)):
        model, frames = make_model(objects), frames_of(2, 4, objects=objects)
        model.dynamics.telemetry_change.fill_(0.01)  # inside its bounds
        seen, other = (followed(model, f)[-1] for f in (frames, changed_codes(frames)))
        assert torch.equal(seen.telemetry, other.telemetry) == same
        assert not torch.equal(drawn(seen), drawn(other))


def test_what_hardly_moves_rests_in_rollouts_only() -> None:
    model, frames = make_model(), frames_of(1, 1)
    dynamics = model.dynamics
    change, motion = torch.full((1, 1, 5), 0.9 * TELEMETRY_REST), torch.zeros(1, 1, OBJECTS, 3)
    motion[..., 0] = 0.9 * REST
    resting, moving = (dynamics.moved(frames, change, motion, rest) for rest in (True, False))
    assert torch.equal(resting.objects, frames.objects) and not torch.equal(moving.objects, frames.objects)
    for physical, same in ((resting, True), (moving, False)):
        assert torch.equal(physical.telemetry[..., :3], frames.telemetry[..., :3].clamp(0, 1)) == same
    motion[..., 0] = 1.1 * REST
    assert not torch.equal(dynamics.moved(frames, change, motion, rest=True).objects, frames.objects)


def test_unknown_properties_differ_from_every_value() -> None:
    dynamics = make_model().dynamics
    unknown = dynamics.property_features(torch.tensor([[torch.nan, 0.5]]))
    assert unknown.isfinite().all()
    middle = dynamics.property_features(torch.tensor([[0.5, 0.5]]))
    assert not torch.equal(unknown, middle)


def test_samples_follow_the_distribution_and_their_own_generator() -> None:
    logits = torch.log(torch.tensor([0.7, 0.2, 0.1])).expand(2, 400, 5, 3)
    first = choose(logits, [torch.Generator().manual_seed(s) for s in (1, 2)])
    again = choose(logits, [torch.Generator().manual_seed(s) for s in (1, 3)])
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[1], again[1])
    shares = torch.bincount(first.flatten().long(), minlength=3) / first.numel()
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.03, rtol=0)
    assert (choose(logits, None) == 0).all()


def test_entropy_is_zero_for_certainty_and_one_for_ignorance() -> None:
    certain = torch.zeros(1, 2, 3, 5)
    certain[..., 0] = 50
    assert normalised_entropy(certain).item() < 1e-6
    torch.testing.assert_close(normalised_entropy(torch.zeros(1, 2, 3, 5)), torch.ones(1))


def told(*commands: Command) -> WorldModel:
    """A model with these commands, whose telemetry changes by 0.05 [usual change] within [-1, 1]."""
    model = make_model()
    config = replace(model.config, dynamics=replace(model.config.dynamics, commands=commands))
    statistics = model.statistics._replace(
        telemetry_mean=torch.full((TELEMETRY,), 0.5),
        telemetry_std=torch.full((TELEMETRY,), 2.0),
        telemetry_change=torch.full((TELEMETRY,), 0.05),
        telemetry_low=-torch.ones(TELEMETRY),
        telemetry_high=torch.ones(TELEMETRY),
    )
    return WorldModel(config, statistics)


def test_targets_are_features_and_are_not_taken_for_what_is_measured() -> None:
    """An integrated command, a target that only its measured column follows, and one that has a column of its own."""
    model = told(
        Command(telemetry=3, action=0, scale=0.1, measured=0),
        Command(telemetry=1, action=1, scale=1.0, measured=1, absolute=True),
        Command(telemetry=4, action=2, scale=0.5, measured=2, absolute=True),
    )
    telemetry = torch.tensor([0.1, 0.2, 0.3, 0.95, 0.5]).expand(1, 1, -1)
    actions = torch.tensor([1.0, 0.3, -0.4]).expand(1, 1, -1)
    commands = model.dynamics.next_commands(telemetry, actions)
    torch.testing.assert_close(commands, torch.tensor([[[1.0, 0.3, -0.2]]]))  # clipped, told, told in another unit

    objects, properties = torch.zeros(1, 1, OBJECTS, 3), torch.zeros(1, PROPERTIES)
    segment = Segment.of(torch.zeros(1, 1, 0, 0, dtype=torch.uint8), telemetry, objects, actions, properties)
    features = model.dynamics.robot_features(segment)[0, 0, 2 * TELEMETRY + ACTIONS :]
    level = (commands[0, 0] - 0.5) / 2
    away = torch.tensor([(1 - 0.1) / 0.1, (0.3 - 0.2) / 0.05, -10.0])  # the last is FAR below
    torch.testing.assert_close(features, torch.cat((level, away)))

    moved = model.dynamics.moved(segment, torch.full((1, 1, TELEMETRY), 1.0), torch.zeros_like(objects), rest=True)
    # What follows a target goes half of the way at first, beside what is predicted to differ from that.
    torch.testing.assert_close(moved.telemetry[0, 0], torch.tensor([0.15, 0.25 + 0.05, 0.35 - 0.25, 1.0, -0.2]))


def test_kinds_of_commands_are_no_weights() -> None:
    """Models with targets have the buffers of models without, shares of the way beside, and another hash."""
    integrated = Command(telemetry=3, action=0, scale=0.1, measured=0)
    before, after = told(integrated), told(replace(integrated, absolute=True))
    assert after.state_dict().keys() - before.state_dict().keys() == {"dynamics.telemetry_follows"}
    assert "absolute" not in str(before.config.to_json())
    assert before.digest() != after.digest()
    assert WorldModelConfig.from_json(after.config.to_json()).dynamics == after.config.dynamics
