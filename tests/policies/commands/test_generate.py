"""Films of a learned world: their length, what they begin with and follow, and clear words for what cannot be."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from gwm_sim import cli
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.media.video import enlarge
from gwm_sim.model.checkpoint import BANK_FILE, find_checkpoint
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.commands.generate import main
from gwm_sim.policies.film import Film, GenerateConfig
from gwm_sim.policies.planning import Guide
from gwm_sim.protocol import CONTEXT


def frames_of(film: Path) -> list[np.ndarray]:
    with av.open(str(film)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture
def config(tiny_checkpoint: Path, tmp_path: Path) -> GenerateConfig:
    return GenerateConfig(out=tmp_path / "film/world.mp4", model=str(tiny_checkpoint), seconds=1.0, scale=2)


def test_a_film_is_as_long_as_asked_for(config: GenerateConfig) -> None:
    report = config.out.with_suffix(".json")
    assert main(replace(config, bank=1, json=report)) == 0
    model = WorldModel.load(config.model)
    frames = frames_of(config.out)
    assert len(frames) == 1 + round(model.config.schema.rate)
    assert frames[0].shape == (2 * model.config.tokenizer.height, 2 * model.config.tokenizer.width, 3)
    told = json.loads(report.read_text())
    assert told["model_hash"] == model.digest() and told["steps"] == len(frames) - 1
    assert sorted(path.name for path in config.out.parent.iterdir()) == ["world.json", "world.mp4"]


def test_a_recording_is_followed_to_its_end(config: GenerateConfig, tiny_data: Path) -> None:
    config = replace(config, episode=f"{tiny_data}:0", seconds=None)
    main(config)
    episode = EpisodeFile(tiny_data)[0]
    frames = frames_of(config.out)
    assert len(frames) == len(episode) - CONTEXT + 2
    first = episode.frames["front"][CONTEXT - 1].repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs(frames[0].astype(int) - first).mean() < 8  # but for compression
    with pytest.raises(ConfigError, match="give fewer --seconds, or a --policy"):
        main(replace(config, seconds=100.0))
    main(replace(config, policy="hold", seconds=0.5))  # further than that goes a policy


def test_actions_of_a_file_are_followed(config: GenerateConfig, tmp_path: Path) -> None:
    actions = WorldModel.load(config.model).config.dynamics.actions
    np.save(tmp_path / "actions.npy", np.zeros((7, actions)))
    main(replace(config, actions=tmp_path / "actions.npy", seconds=None))
    assert len(frames_of(config.out)) == 8
    np.save(tmp_path / "wrong.npy", np.zeros((7, actions + 1)))
    with pytest.raises(ConfigError, match="must hold finite numbers"):
        main(replace(config, actions=tmp_path / "wrong.npy"))
    np.savez(tmp_path / "several.npz", np.zeros((7, actions)))
    np.save(tmp_path / "words.npy", np.array([["up", "down"]]))
    (tmp_path / "text.npy").write_text("up, down")
    (tmp_path / "empty.npy").touch()
    for name in ("several.npz", "words.npy", "text.npy", "empty.npy", "none.npy"):
        with pytest.raises(ConfigError, match=r"is no \.npy file"):
            main(replace(config, actions=tmp_path / name))


def test_agents_that_read_positions_are_filmed(config: GenerateConfig) -> None:
    pytest.importorskip("stable_baselines3")
    main(replace(config, model="gwm-mini", policy="sac-reach", bank=0, seconds=0.5))
    frames = frames_of(config.out)
    assert len(frames) == 6 and frames[0].shape == (128, 128, 3)


def test_another_seed_is_another_film(config: GenerateConfig) -> None:
    films = []
    for seed in (0, 0, 1):
        main(replace(config, seed=seed))
        films.append(np.stack(frames_of(config.out)))
    np.testing.assert_array_equal(films[0], films[1])
    assert (films[0] != films[2]).any()


def test_a_broken_film_leaves_the_one_before(config: GenerateConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    main(config)
    before = config.out.read_bytes()
    whole = Film.frames

    def interrupted(self: Film) -> object:
        frames = whole(self)
        for _ in range(4):
            yield next(frames)
        raise KeyboardInterrupt

    monkeypatch.setattr(Film, "frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(replace(config, seed=5))
    assert config.out.read_bytes() == before
    assert [path.name for path in config.out.parent.iterdir()] == ["world.mp4"]


def test_what_cannot_be_filmed_is_said(
    config: GenerateConfig, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "--model", config.model, "--out", str(config.out)]
    for options, message in {
        ("--bank", "9999"): "bank must be an index",
        ("--bank", "0", "--image", "x.png"): "exclude each other",
        ("--episode", f"{tiny_data}:999"): "number 999 is not among them",
        ("--episode", str(tiny_data)): "FILE:K",
        ("--policy", "nobody"): "no policy 'nobody'",
        ("--seconds", "0"): "--seconds must be positive",
        ("--seconds", "nan"): "--seconds must be positive",
        ("--step", "7"): "give --episode FILE:K beside it",
        ("--out", "film.gif"): "--out must end in .mp4",
    }.items():
        assert cli.main([*words, *options]) == 2
        assert message in capsys.readouterr().err
    assert not config.out.exists()


def test_a_picture_is_read_by_a_guide_of_the_same_camera(config: GenerateConfig) -> None:
    """A model without a guide borrows that of a shipped one, if it looks at the same robot from the same place."""
    model = WorldModel.load(config.model)
    assert Guide.beside(model, config.model) is None
    guide = Guide.beside(model, config.model, borrow=True)
    assert guide is not None and guide.eyes.config.name == "gwm-mini" and guide.model is model
    episode = EpisodeFile(find_checkpoint("gwm-mini") / BANK_FILE)[0]
    for picture in (episode.frames["front"][0], enlarge(episode.frames["front"][0], 2)):
        read = guide.read(picture).telemetry[0, 7:10].numpy()
        assert np.linalg.norm(read - episode.telemetry[0, 7:10]) < 0.02
    schema = model.config.schema
    turned = replace(schema.cameras["front"], fovy=30.0)
    model.config = replace(model.config, schema=replace(schema, cameras={"front": turned}))
    assert Guide.beside(model, config.model, borrow=True) is None
