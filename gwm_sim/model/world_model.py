"""WorldModel: the one interface through which the rest of the house uses the model.

    state = model.encode(frames, telemetry, actions)      # a few real frames
    state = model.step(state, actions)                    # one imagined step
    frames = model.decode(state)                          # pictures, only when somebody looks

A state is a record of many worlds, of which each can be copied, selected and replaced alone (`world_state.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gwm_sim.data.schema import Command, Schema
from gwm_sim.errors import CheckpointError, ConfigError
from gwm_sim.model.checkpoint import BANK_FILE, CONFIG_FILE, WEIGHTS_FILE, Shareable
from gwm_sim.model.depth import DepthHead
from gwm_sim.model.dynamics import (
    IMAGINED,
    Dynamics,
    DynamicsConfig,
    PhysicalState,
    Segment,
    Statistics,
    previous,
    risk,
)
from gwm_sim.model.heads import HeadsConfig, Locator, TaskHead
from gwm_sim.model.latents import choose
from gwm_sim.model.object_dynamics import ObjectDynamics
from gwm_sim.model.state import Rollout, WorldState
from gwm_sim.model.tokenizer import Tokenizer, TokenizerConfig
from gwm_sim.model.video_dynamics import VideoDynamics

FORMAT = 3  # version of the checkpoint layout
SHIPPED = Path(str(resources.files("gwm_sim"))) / "pretrained"
FUTURE = 100_003  # seeds of a future per step
CAME_LATER = ("views", "pack", "rides", "noise", "action_size")
"""Options that the first checkpoints of this format do not have."""


@dataclass(frozen=True)
class WorldModelConfig:
    """Everything a checkpoint needs to be rebuilt, and what its numbers mean."""

    name: str
    """Short name, such as gwm-mini."""
    schema: Schema
    """The data's schema: rate, names, units and bounds of telemetry and actions, camera, objects, tasks."""
    camera: str
    """The camera that the model sees through; of several the main one, from which goals and objects are read."""
    properties: tuple[str, ...]
    """Physics properties that condition the model, in the order of the inputs."""
    time_limit: int
    """Length of the training episodes [steps]: the time limit of an environment that names no task."""
    tokenizer: TokenizerConfig
    dynamics: DynamicsConfig
    heads: HeadsConfig
    others: tuple[str, ...] = ()
    """Further cameras, whose views stand beside that of the main one."""
    depth: bool = False
    """Whether the depth of the main view is predicted too."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """All cameras, the main one first."""
        return self.camera, *self.others

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as a JSON object."""
        parts = {name: written(getattr(self, name)) for name in ("tokenizer", "dynamics", "heads")}
        named = {key: getattr(self, key) for key in ("name", "camera", "properties", "time_limit")}
        named |= {key: value for key, value in (("others", self.others), ("depth", self.depth)) if value}
        return {"format": FORMAT, **named, "schema": self.schema.to_json(), **parts}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> WorldModelConfig:
        """Make a configuration from what `to_json` returned."""
        dynamics = dict(value["dynamics"])
        dynamics["commands"] = tuple(Command(**command) for command in dynamics["commands"])
        dynamics |= {
            name: tuple(dynamics.get(name, ())) for name in ("effector", "grid", "view", "rides", "action_size")
        }
        heads = dict(value["heads"]) | {"tasks": tuple(value["heads"]["tasks"])}
        return cls(
            name=value["name"],
            schema=Schema.from_json(value["schema"]),
            camera=value["camera"],
            properties=tuple(value["properties"]),
            time_limit=value["time_limit"],
            tokenizer=TokenizerConfig(**value["tokenizer"]),
            dynamics=DynamicsConfig(**dynamics),
            heads=HeadsConfig(**heads),
            others=tuple(value.get("others", ())),
            depth=value.get("depth", False),
        )


def written(part: TokenizerConfig | DynamicsConfig | HeadsConfig) -> dict[str, Any]:
    """A part of a configuration as a JSON object. What came later is left out where it is at its default, so that a
    model keeps its hash."""
    defaults = {item.name: item.default for item in fields(part) if item.name in CAME_LATER}
    return {key: value for key, value in asdict(part).items() if key not in defaults or value != defaults[key]}


class WorldModel(nn.Module, Shareable):
    """Tokenizer, dynamics and heads of one learned world."""

    calibration: Tensor  # (2,), expected error of a familiar start, and per unit of risk of a step

    def __init__(self, config: WorldModelConfig, statistics: Statistics | None = None) -> None:
        """Build a model with fresh weights; `statistics` come from the training data or from a checkpoint."""
        super().__init__()
        self.config = config
        self.tokenizer = Tokenizer(config.tokenizer)
        kind = VideoDynamics if config.dynamics.from_pixels else ObjectDynamics
        self.dynamics: Dynamics = kind(config.dynamics, statistics or blank_statistics(config.dynamics))
        self.locator = (
            Locator(config.heads, self.tokenizer.channels, self.dynamics) if config.dynamics.objects else None
        )
        self.task_head = TaskHead(config.heads, self.dynamics) if config.heads.tasks else None
        self.depth_head = DepthHead(config.tokenizer) if config.depth else None
        self.register_buffer("calibration", torch.ones(2))

    @property
    def device(self) -> torch.device:
        return self.dynamics.telemetry_mean.device

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that reward and success are read for, in the order of the last axis of both."""
        return self.config.heads.tasks

    # --- imagining ----------------------------------------------------------------------------------------------------

    def encode(
        self, frames: Tensor, telemetry: Tensor, actions: Tensor, properties: Tensor | None = None
    ) -> WorldState:
        """Start worlds from real frames.

        Args:
            frames: Context frames, the last one being the present, (B, C, H, V*W, 3) uint8: of several cameras the
                views side by side (`views.py`), or that of the main one alone; the others are then drawn.
            telemetry: Telemetry at those frames, (B, C, P).
            actions: Actions between them, (B, C-1, A).
            properties: Physics properties (B, Q) in the order of `config.properties`, NaN where unknown; None if none
            is known.

        Raises:
            ValueError: A shape does not fit the model.
        """
        return self.begin(self.read(frames, telemetry, actions, properties))

    @torch.no_grad()
    def read(self, frames: Tensor, telemetry: Tensor, actions: Tensor, properties: Tensor | None = None) -> Segment:
        """Latents and object positions of real frames: the first half of `encode`, with the same arguments."""
        c = self.config
        b, length = frames.shape[:2]
        alone = c.tokenizer.views > 1 and not c.dynamics.from_pixels and frames.shape[3:4] == (c.tokenizer.width,)
        width = c.tokenizer.width if alone else c.tokenizer.frame[1]
        expected = {
            "frames": (frames, (b, length, c.tokenizer.height, width, 3)),
            "telemetry": (telemetry, (b, length, c.dynamics.telemetry)),
            "actions": (actions, (b, length - 1, c.dynamics.actions)),
        }
        for name, (value, shape) in expected.items():
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
        if frames.dtype != torch.uint8:
            raise ValueError(f"frames must be uint8 from 0 to 255, got {frames.dtype}")
        if properties is None:
            properties = torch.full((b, c.dynamics.properties), torch.nan)
        telemetry = telemetry.to(self.device, torch.float32)
        pictures = frames.to(self.device).flatten(0, 1)
        features = self.tokenizer.features(pictures)
        codes = self.tokenizer.codes(features)
        objects = self.locate(features[:, 0], telemetry.flatten(0, 1))
        novelty = self.tokenizer.novelty(pictures, codes)
        if alone:
            body = PhysicalState(telemetry.flatten(0, 1)[:, None], objects[:, None])
            drawn = self.unseen(body, body)
            codes = torch.cat((codes, drawn[:, codes.shape[1] :]), dim=1)
        codes, objects, novelty = (x.unflatten(0, (b, length)) for x in (codes, objects, novelty))
        present = torch.zeros(b, 1, c.dynamics.actions)  # the action of the last frame is not known yet
        return Segment(
            codes=codes,
            previous_codes=previous(codes),
            telemetry=telemetry,
            previous_telemetry=previous(telemetry),
            objects=objects,
            previous_objects=previous(objects),
            actions=torch.cat((actions.cpu(), present), dim=1).to(self.device, torch.float32),
            properties=properties.to(self.device, torch.float32),
            corruption=telemetry.new_zeros(b, length),
            novelty=novelty,
        )

    @torch.no_grad()
    def begin(self, context: Segment) -> WorldState:
        """Start worlds from frames that were read, the second half of `encode`; the last frame's action is not used."""
        b, length = context.telemetry.shape[:2]
        past = Segment(*(x if name == "properties" else x[:, :-1] for name, x in context._asdict().items()))
        memory = self.dynamics.remember(past) if length > 1 else self.dynamics.blank_memory(b)
        return WorldState(
            codes=context.codes[:, -1],
            previous_codes=context.previous_codes[:, -1],
            telemetry=context.telemetry[:, -1],
            previous_telemetry=context.previous_telemetry[:, -1],
            objects=context.objects[:, -1],
            previous_objects=context.previous_objects[:, -1],
            properties=context.properties,
            corruption=context.corruption[:, -1],
            uncertainty=self.calibration[0] * context.novelty.mean(dim=1).square(),
            drawn=torch.ones(b, dtype=torch.bool, device=self.device),
            age=torch.full((b,), length - 1, device=self.device),
            future=torch.full((b,), -1, device=self.device),
            memory=memory,
        )

    @torch.no_grad()
    def step(
        self,
        state: WorldState,
        actions: Tensor,
        generators: list[torch.Generator] | None = None,
        draw: bool = True,
    ) -> WorldState:
        """Imagine one step.

        Args:
            state: Present worlds; left as they are.
            actions: Actions in [-1, 1], (B, A).
            generators: One generator per row to sample what is left open: what happens, or of a model that foresees but
                one future the picture. None goes into `state.future`, by default the most likely one.
            draw: Whether the picture is wanted at every step. Where objects are tracked a world goes the same way
                without, several times as fast, and `decode` draws it from robot and objects alone when asked.

        Returns:
            The worlds one step later.
        """
        return self.step_(replace(state, memory=state.memory.clone()), actions, generators, draw)

    @torch.no_grad()
    def step_(
        self,
        state: WorldState,
        actions: Tensor,
        generators: list[torch.Generator] | None = None,
        draw: bool = True,
    ) -> WorldState:
        """As `step`, but reuses the memory of `state`, which must not be used afterwards."""
        expected = (len(state), self.config.dynamics.actions)
        if tuple(actions.shape) != expected:
            raise ValueError(f"actions must have shape {expected}, got {tuple(actions.shape)}")
        draw = draw or self.config.dynamics.from_pixels
        if draw:
            state = self.draw(state)
        noise = self.noise(state, generators)
        predicted, memory = self.dynamics.step(self.present(state, actions), state.memory, state.age, draw, noise)
        # Where the bodies are left to chance, the picture is that of what became of them.
        sampled = generators if noise is None else None
        codes = state.codes if predicted.logits is None else choose(predicted.logits[:, 0], sampled)
        return WorldState(
            codes=codes,
            previous_codes=state.codes,
            telemetry=predicted.telemetry[:, 0],
            previous_telemetry=state.telemetry,
            objects=predicted.objects[:, 0],
            previous_objects=state.objects,
            properties=state.properties,
            corruption=torch.full_like(state.corruption, IMAGINED),
            uncertainty=state.uncertainty + self.calibration[1] * risk(predicted),
            drawn=torch.full_like(state.drawn, draw),
            age=state.age + 1,
            future=state.future,
            memory=memory,
        )

    def noise(self, state: WorldState, generators: Sequence[torch.Generator] | None) -> Tensor | None:
        """What chance has for one step of each row, (B, 1, 1 + K, noise); None where nothing is left to it."""
        c = self.config.dynamics
        if not c.noise or (generators is None and (state.future < 0).all()):
            return None
        if generators is None:
            moments = zip(state.future.tolist(), state.age.tolist(), strict=True)
            drawn = [torch.Generator().manual_seed(seed * FUTURE + age) if seed >= 0 else None for seed, age in moments]
        else:
            drawn = list(generators)
        shape = (1, 1 + c.objects, c.noise)
        rows = [torch.zeros(shape) if g is None else torch.randn(shape, generator=g, device=g.device) for g in drawn]
        return torch.stack(rows).to(self.device)

    @torch.no_grad()
    def imagine(
        self,
        state: WorldState,
        actions: Tensor,
        judged: bool = True,
        draw: bool = True,
    ) -> Rollout:
        """Imagine T steps.

        Args:
            state: Present worlds; left as they are.
            actions: Actions in [-1, 1], (B, T, A).
            judged: Whether reward and success are wanted; without, they have no tasks, (B, T, 0).
            draw: Whether pictures are wanted, see `step`.
        """
        state = replace(state, memory=state.memory.clone())
        steps = []
        for action in actions.unbind(dim=1):
            state = self.step_(state, action, draw=draw)
            verdict = self.judge(state) if judged else (state.telemetry[:, :0],) * 2
            steps.append((state.codes, state.telemetry, state.objects, *verdict, state.uncertainty))
        codes, telemetry, objects, reward, success, uncertainty = (
            torch.stack(x, dim=1) for x in zip(*steps, strict=True)
        )
        drawn = draw or self.config.dynamics.from_pixels
        codes = codes if drawn else codes[..., :0, :0]
        return Rollout(codes, telemetry, objects, reward, success, uncertainty, final=state)

    @torch.no_grad()
    def draw(self, state: WorldState) -> WorldState:
        """The same worlds with the pictures that `step` left out, drawn from robot and objects alone."""
        if state.drawn.all():
            return state
        body = PhysicalState(state.telemetry[:, None], state.objects[:, None])
        before = PhysicalState(state.previous_telemetry[:, None], state.previous_objects[:, None])
        codes = self.unseen(body, before)
        kept = state.drawn[:, None, None]
        return replace(
            state,
            codes=torch.where(kept, state.codes, codes),
            previous_codes=torch.where(kept, state.previous_codes, codes),
            drawn=torch.ones_like(state.drawn),
        )

    def unseen(self, physical: PhysicalState, before: PhysicalState) -> Tensor:
        """Latents (B, N, M) of pictures of which only the bodies (T = 1) are known."""
        return choose(self.dynamics.painter.blind(self.dynamics.outline(physical, before))[:, 0], None)

    # --- reading pictures ---------------------------------------------------------------------------------------------

    @property
    def statistics(self) -> Statistics:
        """Scales of the data that the model learned from."""
        return Statistics(*(getattr(self.dynamics, name) for name in Statistics._fields))

    @property
    def feature_channels(self) -> int:
        """Channels of `features`."""
        return self.tokenizer.channels

    def tokenize(self, frames: Tensor) -> Tensor:
        """Latents (B, N, M) uint8 of pictures (B, H, V*W, 3) uint8."""
        return self.tokenizer.encode(frames.to(self.device))

    def detokenize(self, codes: Tensor) -> Tensor:
        """Pictures (..., H, V*W, 3) uint8 of latents (..., N, M)."""
        return self.tokenizer.decode(codes)

    def features(self, frames: Tensor) -> Tensor:
        """What the tokenizer sees in the main view before it rounds, (B, channels, H/8, W/8)."""
        return self.tokenizer.features(frames.to(self.device))[:, 0]

    def locate(self, features: Tensor, telemetry: Tensor) -> Tensor:
        """Object positions (B, K, 3) [m] from `features` and telemetry (B, P); (B, 0, 3) where none is tracked."""
        if self.locator is None:
            return telemetry.new_zeros(len(telemetry), 0, 3)
        return self.locator(features, telemetry, self.dynamics)

    def novelty(self, frames: Tensor) -> Tensor:
        """How unfamiliar pictures (B, H, V*W, 3) look, (B,), about 1 for a familiar one."""
        frames = frames.to(self.device)
        return self.tokenizer.novelty(frames, self.tokenizer.encode(frames))

    def empty_scene(self) -> Tensor:
        """Picture of the scene without robot and objects, (H, V*W, 3) uint8."""
        return self.tokenizer.empty()

    # --- reading a state ----------------------------------------------------------------------------------------------

    def decode(self, state: WorldState | Rollout) -> Tensor:
        """Pictures of a state, (B, H, V*W, 3) uint8, or of a rollout, (B, T, H, V*W, 3) uint8.

        Raises:
            ValueError: The rollout was imagined without pictures.
        """
        codes = state.codes if isinstance(state, Rollout) else self.draw(state).codes
        if not codes.numel():
            raise ValueError("this rollout was imagined without pictures: ask for them by imagine(..., draw=True)")
        return self.tokenizer.decode(codes)

    @torch.no_grad()
    def depth(self, state: WorldState | Rollout) -> Tensor:
        """Depth of what the main camera sees in a state, (B, H, W, 1) [m], or in a rollout, (B, T, H, W, 1) [m].

        Raises:
            ValueError: The model predicts no depth, or the rollout was imagined without pictures.
        """
        if self.depth_head is None:
            raise ValueError(f"{self.config.name} predicts no depth")
        codes = state.codes if isinstance(state, Rollout) else self.draw(state).codes
        if not codes.numel():
            raise ValueError("this rollout was imagined without pictures: ask for them by imagine(..., draw=True)")
        return self.depth_head(self.tokenizer.unpack(codes.flatten(0, -3))[:, 0]).unflatten(0, codes.shape[:-2])

    def reward(self, state: WorldState) -> Tensor:
        """Dense reward of each task in [0, 1], (B, tasks)."""
        return self.judge(state)[0]

    def success(self, state: WorldState) -> Tensor:
        """Probability that each task is fulfilled at this instant, (B, tasks)."""
        return self.judge(state)[1]

    def objects(self, state: WorldState) -> Tensor:
        """Tracked object positions [m], (B, K, 3)."""
        return state.objects

    def uncertainty(self, state: WorldState) -> Tensor:
        """Expected error of a state, (B,): of object positions in [cm], without objects of pixels in [grey levels].

        It starts with how unfamiliar the real frames look and grows with every imagined step by what the dynamics
        expects to be wrong. The scale is fitted to held-out episodes of the training data (`calibration.py`).
        """
        return state.uncertainty

    @torch.no_grad()
    def judge(self, state: WorldState) -> tuple[Tensor, Tensor]:
        """Reward and success probability in one pass, each (B, tasks)."""
        if self.task_head is None:
            nothing = state.telemetry.new_zeros(len(state), 0)
            return nothing, nothing
        none = state.telemetry.new_zeros(len(state), self.config.dynamics.actions)
        reward, success = self.task_head(self.present(state, none), self.dynamics)
        return reward[:, 0].sigmoid(), success[:, 0].sigmoid()

    def present(self, state: WorldState, actions: Tensor) -> Segment:
        """The present frame of a state as a sequence of length 1."""
        return Segment(
            codes=state.codes[:, None],
            previous_codes=state.previous_codes[:, None],
            telemetry=state.telemetry[:, None],
            previous_telemetry=state.previous_telemetry[:, None],
            objects=state.objects[:, None],
            previous_objects=state.previous_objects[:, None],
            actions=actions[:, None].to(self.device, torch.float32),
            properties=state.properties,
            corruption=state.corruption[:, None],
            novelty=torch.ones_like(state.corruption)[:, None],
        )

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, weights in half precision; each appears whole or not at all."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{WEIGHTS_FILE}.tmp"
        save_file(stored_weights(self), temporary)
        temporary.chmod(0o644)
        os.replace(temporary, folder / WEIGHTS_FILE)
        temporary = folder / f"{CONFIG_FILE}.tmp"
        temporary.write_text(json.dumps(self.config.to_json(), indent=1) + "\n")
        os.replace(temporary, folder / CONFIG_FILE)

    @classmethod
    def load(cls, model: str | Path, device: str | torch.device | None = None) -> Self:
        """Load a shipped model by name, such as "gwm-mini", or any model by its folder.

        Args:
            model: Name or folder.
            device: Where to put it; None for a GPU if there is one, else the CPU.

        Raises:
            CheckpointError: There is no such model, or its files are incomplete or of another version.
        """
        folder = find_checkpoint(model)
        try:
            value = json.loads((folder / CONFIG_FILE).read_text())
            if value["format"] != FORMAT:
                advice = "upgrade gwm_sim" if value["format"] > FORMAT else "train it anew, or install an older gwm_sim"
                raise CheckpointError(
                    f"{folder} has checkpoint format {value['format']}, this version reads {FORMAT}: {advice}"
                )
            world_model = cls(WorldModelConfig.from_json(value))
            weights = load_file(folder / WEIGHTS_FILE)
            world_model.load_state_dict({k: v.float() if v.dtype == torch.float16 else v for k, v in weights.items()})
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(
                f"{folder} is not a complete checkpoint (config.json, model.safetensors): {error}"
            ) from error
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        world_model.to(device).eval()
        world_model.folder = folder
        if multiplies_bfloat16(world_model.device):
            world_model.tokenizer.hasten()
        return world_model

    def digest(self) -> str:
        """Hash of configuration and weights: the identity that results carry."""
        return weights_digest(self, json.dumps(self.config.to_json(), sort_keys=True))

    def tokenizer_digest(self) -> str:
        """Hash of the tokenizer: the identity of latents."""
        return weights_digest(self.tokenizer, json.dumps(written(self.config.tokenizer), sort_keys=True))


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32: told by the processor, not measured, so that a
    busy machine computes the same as an idle one."""
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return device.type == "cuda"


def check_fit(model: WorldModel, schema: Schema, source: str) -> None:
    """Refuse data that the model cannot be shown.

    Raises:
        ConfigError: Cameras, picture size, rate, telemetry or actions differ from those of the model.
    """
    name, cameras, trained = model.config.name, model.config.cameras, model.config.schema
    for camera in cameras:
        if camera not in schema.cameras:
            raise ConfigError(
                f"{source} has no camera {camera!r}, which {name} sees through; it has {list(schema.cameras)}"
            )
    given, expected = (
        {"picture size": [(value.cameras[camera].height, value.cameras[camera].width) for camera in cameras]}
        | {key: getattr(value, key) for key in ("rate", "telemetry_names", "action_names")}
        for value in (schema, trained)
    )
    for key in expected:
        if given[key] != expected[key]:
            raise ConfigError(f"{source} does not fit {name}: its {key} is {given[key]}, the model's {expected[key]}")


def stored_weights(module: nn.Module) -> dict[str, Tensor]:
    """Weights as a checkpoint holds them: parameters in half precision, which changes no code and halves the file."""
    parameters = {name for name, _ in module.named_parameters()}
    return {
        name: (value.half() if name in parameters else value).detach().cpu().contiguous()
        for name, value in module.state_dict().items()
    }


def weights_digest(module: nn.Module, text: str) -> str:
    """Hash of a text and of a module's weights as stored."""
    sha = hashlib.sha256(text.encode())
    for name, value in sorted(stored_weights(module).items()):
        sha.update(name.encode())
        sha.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


def shipped_models() -> list[str]:
    """Names of the models in the package."""
    return sorted(config.parent.name for config in SHIPPED.glob("*/config.json"))


def find_checkpoint(model: str | Path) -> Path:
    """Folder of a shipped model or of a path.

    Raises:
        CheckpointError: There is none; the message lists the shipped models.
    """
    path = Path(model)
    if (path / "config.json").is_file():
        return path
    if path.name in (names := shipped_models()) and path.parent == Path("."):
        return SHIPPED / path.name
    raise CheckpointError(
        f"No model {str(model)!r}: give the name of a shipped one ({', '.join(names) or 'none here'}) "
        "or a folder with config.json and model.safetensors, as `gwm train` makes it"
    )


def blank_statistics(config: DynamicsConfig) -> Statistics:
    """Unit scales of the right shapes, to be overwritten by a checkpoint."""
    one = {"telemetry": config.telemetry, "objects": 3, "properties": config.properties}
    shapes = {name: 1 if name == "objects_change" else one[name.split("_")[0]] for name in Statistics._fields}
    return Statistics(
        **{name: torch.zeros(n) if "mean" in name or "low" in name else torch.ones(n) for name, n in shapes.items()}
    )


__all__ = [
    "BANK_FILE",
    "Rollout",
    "WorldModel",
    "WorldModelConfig",
    "WorldState",
    "check_fit",
    "find_checkpoint",
    "shipped_models",
]
