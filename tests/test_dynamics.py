"""The dynamics' promises: no look into the future, a window, independent rows, memory that equals whole sequences."""

import torch
from models import ACTIONS, WINDOW, make_context, make_model

from gwm_sim.dynamics import REST, Body, Frames, Lesson, choose, normalised_entropy, previous


def frames_of(rows: int, length: int, seed: int = 0) -> Frames:
    model = make_model()
    pictures, telemetry, actions = make_context(model, rows, length, seed)
    read = model.read(pictures, telemetry, actions)
    return read._replace(
        actions=2 * torch.rand(rows, length, ACTIONS, generator=torch.Generator().manual_seed(seed)) - 1
    )


def changed_at(frames: Frames, t: int) -> Frames:
    """The same frames, different in everything at time t."""
    codes, telemetry, objects = frames.codes.clone(), frames.telemetry.clone(), frames.objects.clone()
    codes[:, t] = 4 - codes[:, t]
    telemetry[:, t] += 0.3
    objects[:, t] += 0.05
    return frames._replace(
        codes=codes,
        previous_codes=previous(codes),
        telemetry=telemetry,
        previous_telemetry=previous(telemetry),
        objects=objects,
        previous_objects=previous(objects),
    )


def test_prediction_is_causal() -> None:
    model, frames = make_model(), frames_of(2, 8)
    before = model.dynamics(frames)
    after = model.dynamics(changed_at(frames, 5))
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a[:, :5], b[:, :5])
        assert not torch.equal(a[:, 5:], b[:, 5:])


def test_prediction_ends_at_the_window() -> None:
    """Two time layers look back `window` frames each, and a frame knows its predecessor: older ones change nothing."""
    model = make_model()
    length = 2 * WINDOW + 4
    frames = frames_of(1, length)
    before = model.dynamics(frames)
    after = model.dynamics(changed_at(frames, 0))
    reach = 2 * (WINDOW - 1) + 1
    assert torch.equal(before.logits[:, reach + 1 :], after.logits[:, reach + 1 :])
    assert not torch.equal(before.logits[:, reach], after.logits[:, reach])


def test_rows_are_independent() -> None:
    model, frames = make_model(), frames_of(3, 5)
    whole = model.dynamics(frames)
    alone = model.dynamics(Frames(*(value[1:2] for value in frames)))
    for a, b in zip(whole, alone, strict=True):
        torch.testing.assert_close(a[1:2], b)


def test_ring_of_memory_equals_whole_sequences() -> None:
    """Step by step, far beyond the size of the ring, gives what one pass over the whole sequence gives."""
    model = make_model()
    length = 3 * WINDOW + 1
    frames = frames_of(2, length)
    whole = model.dynamics(frames)
    cache, age = model.dynamics.empty_cache(2), torch.zeros(2, dtype=torch.long)
    for t in range(length):
        now = Frames(
            *(value if name == "properties" else value[:, t : t + 1] for name, value in frames._asdict().items())
        )
        step = model.dynamics.step(now, cache, age)
        torch.testing.assert_close(step.logits[:, 0], whole.logits[:, t], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(step.objects[:, 0], whole.objects[:, t], rtol=1e-4, atol=1e-4)
        age += 1


def test_commands_are_integrated_exactly_and_clipped() -> None:
    dynamics = make_model().dynamics
    telemetry = torch.tensor([[0.0, 0.0, 0.0, 0.5, 0.95]])
    commands = dynamics.next_commands(telemetry, torch.tensor([[-1.0, 1.0, 0.0]]))
    torch.testing.assert_close(commands, torch.tensor([[0.4, 1.0]]))  # bounds of the test model: 0 to 1


def test_what_is_drawn_blind_depends_on_the_body_alone() -> None:
    model, frames = make_model(), frames_of(2, 3)
    body = Body(frames.telemetry + 0.1, frames.objects)
    drawn = model.dynamics.paint_blind(body, frames)
    other = changed_at(frames, 1)._replace(telemetry=frames.telemetry, objects=frames.objects)
    assert torch.equal(model.dynamics.paint_blind(body, other), drawn)
    moved = body._replace(objects=body.objects + 0.05)
    assert not torch.equal(model.dynamics.paint_blind(moved, frames), drawn)


def test_a_lesson_is_drawn_for_its_own_body_and_blind_where_it_says_so() -> None:
    model, frames = make_model(), frames_of(2, 3)
    body, blind = Body(frames.telemetry, frames.objects + 0.05), torch.zeros(2, 3, dtype=torch.bool)
    seen = model.dynamics(frames, Lesson(body, blind))
    blind[1, 2] = True
    partly = model.dynamics(frames, Lesson(body, blind))
    assert torch.equal(seen.logits[0], partly.logits[0])
    torch.testing.assert_close(partly.logits[1, 2], model.dynamics.paint_blind(body, frames)[1, 2])
    assert torch.equal(seen.objects, partly.objects)  # the body is predicted before any picture


def test_objects_that_hardly_move_rest_in_rollouts_only() -> None:
    model, frames = make_model(), frames_of(1, 2)
    dynamics = model.dynamics
    with torch.no_grad():
        dynamics.object_out.weight.zero_()
        dynamics.object_out.bias.copy_(torch.tensor([0.9 * REST, 0.0, 0.0]))
    lesson = Lesson(Body(frames.telemetry, frames.objects), torch.zeros(1, 2, dtype=torch.bool))
    assert torch.equal(dynamics(frames).objects, frames.objects)
    assert not torch.equal(dynamics(frames, lesson).objects, frames.objects)
    with torch.no_grad():
        dynamics.object_out.bias[0] = 1.1 * REST
    assert not torch.equal(dynamics(frames).objects, frames.objects)


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
