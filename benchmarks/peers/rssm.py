"""A recurrent state-space model, the dynamics of the Dreamer family, as a peer of the shipped model.

A deterministic state h is carried on by a GRU; discrete stochastic latents z say what h could not know. From h alone
the prior guesses z, from h and the real frame the posterior reads it; a rollout goes on with the prior. Everything is
learned together: reconstruction, and a KL divergence that is balanced and has free bits (DreamerV3, Hafner et al.,
2023).

It is given what the shipped model is given: telemetry, exactly integrated commands, actions, physics properties, the
labels of objects and tasks, a loss that weighs pixels by their distance from the median background, and that background
as the decoder's bias. Only the dynamics is another one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gwm_sim.data.schema import Schema
from gwm_sim.evaluation.open_loop import Prediction, Window
from gwm_sim.files import replacing, write_json
from gwm_sim.model.checkpoint import weights_digest
from gwm_sim.model.config import TokenizerConfig
from gwm_sim.model.state import Statistics
from gwm_sim.model.tokenizer import ChannelNorm, to_frames, to_images, worst_pixels
from peers.layers import NormedGRU, choose, divergence, double, halve, layer, quiet

STRIDE = 16  # pixels per cell of the coarsest feature map, four halvings
UNIMIX = 0.01  # part of a uniform distribution in every categorical, so that no KL is infinite
FREE_NATS = 1.0  # divergence per frame that costs nothing
POSTERIOR_WEIGHT = 0.1  # of the KL that pulls the posterior to the prior, beside the 1 of its counterpart
PIXEL_WEIGHTS = TokenizerConfig()  # foreground and worst pixels count as in the shipped tokenizer
IMAGE_SCALE = 0.1  # brings their sum to the size that squared errors have in DreamerV3, beside which the KL counts


@dataclass(frozen=True)
class RSSMConfig:
    """Shape and learning of the peer."""

    state: int = 512
    """Units of the deterministic state."""
    hidden: int = 256
    """Units of the perceptrons."""
    latents: int = 32
    """Categorical variables of the stochastic state."""
    classes: int = 32
    """Values of each."""
    channels: int = 24
    """Channels at half resolution; doubled at each halving."""
    rate: float = 6e-4
    """Peak learning rate."""
    kl_weight: float = 1.0
    """Weight of the KL divergence beside the reconstruction."""
    frames_per_window: int = 16
    """Length of the training sequences."""
    windows_per_batch: int = 8
    """Training sequences in a batch."""


@dataclass(frozen=True)
class World:
    """What is seen, and what the columns mean."""

    schema: Schema
    camera: str
    properties: tuple[str, ...]


class Sequences(NamedTuple):
    """T consecutive frames of B worlds; action t leads to frame t, the first is zero where nobody knows it."""

    frames: Tensor  # (B, T, H, W, 3) uint8
    telemetry: Tensor  # (B, T, P)
    actions: Tensor  # (B, T, A)
    properties: Tensor  # (B, Q), NaN where unknown


class Labels(NamedTuple):
    """What the heads learn."""

    objects: Tensor  # (B, T, K, 3) [m]
    reward: Tensor  # (B, T, tasks)
    success: Tensor  # (B, T, tasks) bool


class State(NamedTuple):
    """What the model carries from frame to frame; F = D + L * classes features."""

    deterministic: Tensor  # (B, D)
    latent: Tensor  # (B, L * classes), one-hot per variable

    def features(self) -> Tensor:
        return torch.cat(self, dim=-1)


class Reading(NamedTuple):
    """What the heads read from features (..., F)."""

    telemetry: Tensor  # (..., P)
    objects: Tensor  # (..., K, 3) [m]
    reward: Tensor  # (..., tasks) logits
    success: Tensor  # (..., tasks) logits


class Dream(NamedTuple):
    """T imagined steps of B worlds; frames are decoded on demand by `RSSM.decode`."""

    features: Tensor  # (B, T, F)
    telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m]
    success: Tensor  # (B, T, tasks) probability


class RSSM(nn.Module):
    """The peer: encoder, recurrent dynamics, decoder and heads."""

    background: Tensor

    def __init__(self, config: RSSMConfig, world: World, statistics: Statistics, background: Tensor) -> None:
        """Build a peer with fresh weights.

        Args:
            config: Shape and learning.
            world: What is seen.
            statistics: Scales of the training data.
            background: Median image of the training data, (3, H, W) around 0.
        """
        super().__init__()
        self.config, self.world = config, world
        for name, value in statistics._asdict().items():
            self.register_buffer(name, value.float())
        self.register_buffer("background", background.float())
        schema, c, d = world.schema, config.channels, config.hidden
        telemetry, commands = len(schema.telemetry_names), len(schema.commands)
        self.grid = (background.shape[1] // STRIDE, background.shape[2] // STRIDE)
        flat = 8 * c * self.grid[0] * self.grid[1]
        latent = config.latents * config.classes

        conditions = len(schema.action_names) + commands + 2 * len(world.properties)
        self.sequence_in = layer(latent + conditions, d)
        self.gru = NormedGRU(d, config.state)
        self.prior = nn.Sequential(layer(config.state, d), nn.Linear(d, latent))
        self.eye = nn.Sequential(*(halve(a, b) for a, b in ((3, c), (c, 2 * c), (2 * c, 4 * c), (4 * c, 8 * c))))
        self.frame_in = layer(flat, d)
        self.body_in = layer(telemetry, d)
        self.posterior = nn.Sequential(layer(config.state + 2 * d, d), nn.Linear(d, latent))

        features = config.state + latent
        self.frame_out = nn.Linear(features, flat)
        self.painter = nn.Sequential(
            ChannelNorm(8 * c),
            *(double(a, b) for a, b in ((8 * c, 4 * c), (4 * c, 2 * c), (2 * c, c))),
            quiet(nn.ConvTranspose2d(c, 3, 4, stride=2, padding=1)),
        )
        self.sizes = (telemetry, 3 * len(schema.object_names), len(schema.tasks), len(schema.tasks))
        self.heads = nn.Sequential(layer(features + commands, d), layer(d, d), quiet(nn.Linear(d, sum(self.sizes))))
        self.commanded = [command.telemetry for command in schema.commands]
        self.measured = [command.measured for command in schema.commands]

    @property
    def device(self) -> torch.device:
        return self.background.device

    @property
    def scales(self) -> Statistics:
        """Scales of the training data, which are among the weights."""
        return Statistics(*(getattr(self, name) for name in Statistics._fields))

    # --- dynamics -----------------------------------------------------------------------------------------------------

    def begin(self, rows: int) -> State:
        """The state before anything was seen."""
        c = self.config
        zeros = torch.zeros(rows, c.state + c.latents * c.classes, device=self.device)
        return State(zeros[:, : c.state], zeros[:, c.state :])

    def condition(self, sequences: Sequences) -> Tensor:
        """What is known of every frame without looking, (B, T, conditions): action, commands, properties."""
        index, t, scales = self.commanded, sequences.actions.shape[1], self.scales
        commands = (sequences.telemetry[..., index] - scales.telemetry_mean[index]) / scales.telemetry_std[index]
        known = sequences.properties.isfinite()
        span = (scales.properties_high - scales.properties_low).clamp_min(1e-6)
        unit = (2 * (sequences.properties - scales.properties_low) / span - 1).clamp(-1, 1)
        physics = torch.cat((torch.where(known, unit, 0.0), known.float()), dim=-1)
        return torch.cat((sequences.actions, commands, physics[:, None].expand(-1, t, -1)), dim=-1)

    def advance(self, state: State, condition: Tensor) -> Tensor:
        """The next deterministic state, (B, D)."""
        return self.gru(self.sequence_in(torch.cat((state.latent, condition), dim=-1)), state.deterministic)

    def observe(self, sequences: Sequences, noise: Tensor | None = None) -> tuple[State, Tensor, Tensor, Tensor]:
        """Follow real frames.

        Args:
            sequences: The frames.
            noise: Gumbel noise that samples the latents, (B, T, L, classes); None takes the most likely ones.

        Returns:
            The last state, features (B, T, F), and log-probabilities of prior and posterior, each (B, T, L, classes).
        """
        b, t = sequences.actions.shape[:2]
        seen = self.frame_in(self.eye(to_images(sequences.frames.flatten(0, 1))[:, 0]).flatten(1)).unflatten(0, (b, t))
        felt = self.body_in((sequences.telemetry - self.scales.telemetry_mean) / self.scales.telemetry_std)
        evidence, conditions = torch.cat((seen, felt), dim=-1), self.condition(sequences)
        state = self.begin(b)
        features, deterministic, posterior = [], [], []
        for i in range(t):
            h = self.advance(state, conditions[:, i])
            logits = self.distribution(self.posterior(torch.cat((h, evidence[:, i]), dim=-1)))
            state = State(h, choose(logits, None if noise is None else noise[:, i]))
            features.append(state.features())
            deterministic.append(h)
            posterior.append(logits)
        prior = self.distribution(self.prior(torch.stack(deterministic, dim=1)))
        return state, torch.stack(features, dim=1), prior, torch.stack(posterior, dim=1)

    def distribution(self, logits: Tensor) -> Tensor:
        """Log-probabilities (..., L, classes) of logits (..., L * classes), mixed with a little of a uniform one."""
        c = self.config
        share = logits.float().unflatten(-1, (c.latents, c.classes)).softmax(dim=-1)
        return ((1 - UNIMIX) * share + UNIMIX / c.classes).log()

    @torch.no_grad()
    def imagine(self, context: Sequences, actions: Tensor) -> Dream:
        """Go on without looking: the most likely future.

        Args:
            context: Real frames.
            actions: Actions after the last of them, (B, T, A).
        """
        state = self.observe(context)[0]
        commands = self.integrate(context.telemetry[:, -1], actions)
        conditions = self.condition(Sequences(context.frames, commands, actions, context.properties))
        features = []
        for condition in conditions.unbind(dim=1):
            h = self.advance(state, condition)
            state = State(h, choose(self.distribution(self.prior(h)), None))
            features.append(state.features())
        dreamt = torch.stack(features, dim=1)
        reading = self.read(dreamt, commands)
        telemetry = reading.telemetry.clamp(self.scales.telemetry_low, self.scales.telemetry_high)
        return Dream(dreamt, telemetry, reading.objects, reading.success.sigmoid())

    def integrate(self, telemetry: Tensor, actions: Tensor) -> Tensor:
        """Telemetry (B, P) repeated T times, with the commands that the controller makes of actions (B, T, A)."""
        future = telemetry[:, None].repeat(1, actions.shape[1], 1)
        for command in self.world.schema.commands:
            low, high = self.scales.telemetry_low[command.telemetry], self.scales.telemetry_high[command.telemetry]
            value = telemetry[:, command.telemetry]
            for t in range(actions.shape[1]):
                value = (value + command.scale * actions[:, t, command.action]).clamp(low, high)
                future[:, t, command.telemetry] = value
        return future

    # --- reading a state ----------------------------------------------------------------------------------------------

    def paint(self, features: Tensor) -> Tensor:
        """Images (B, 3, H, W) around 0, not clipped, of features (B, F)."""
        coarse = rearrange(self.frame_out(features), "b (c y x) -> b c y x", y=self.grid[0], x=self.grid[1])
        return self.painter(coarse.contiguous(memory_format=torch.channels_last)).float() + self.background

    @torch.no_grad()
    def decode(self, features: Tensor) -> Tensor:
        """Frames (..., H, W, 3) uint8 of features (..., F)."""
        frames = to_frames(self.paint(features.reshape(-1, features.shape[-1]))[:, None])
        return frames.reshape(*features.shape[:-1], *frames.shape[1:])

    def read(self, features: Tensor, telemetry: Tensor) -> Reading:
        """What the heads say about features (..., F); of `telemetry` (..., P) only the commands are looked at."""
        index, scales = self.commanded, self.scales
        commands = (telemetry[..., index] - scales.telemetry_mean[index]) / scales.telemetry_std[index]
        body, places, reward, success = (
            self.heads(torch.cat((features, commands), dim=-1)).float().split(self.sizes, dim=-1)
        )
        felt = scales.telemetry_mean + body * scales.telemetry_std
        # The arm follows its command: only how far it is behind has to be learned.
        felt[..., self.measured] = telemetry[..., index] + body[..., self.measured] * scales.telemetry_change[index]
        felt[..., index] = telemetry[..., index]
        objects = scales.objects_low + (places.unflatten(-1, (-1, 3)) + 1) / 2 * (
            scales.objects_high - scales.objects_low
        )
        return Reading(felt, objects, reward, success)

    # --- learning -----------------------------------------------------------------------------------------------------

    def loss(self, sequences: Sequences, labels: Labels, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Args:
            sequences: What happened.
            labels: What the heads should have said.
            noise: Gumbel noise that samples the latents, (B, T, L, classes).

        Returns:
            Scalar loss, and named scalars to log.
        """
        _, features, prior, posterior = self.observe(sequences, noise)
        image, squared = self.image_loss(features.flatten(0, 1), to_images(sequences.frames.flatten(0, 1))[:, 0])
        reading = self.read(features, sequences.telemetry)
        error = (reading.telemetry - sequences.telemetry) / self.scales.telemetry_change
        telemetry = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1, reduction="none").sum(-1).mean()
        objects = ((reading.objects - labels.objects).abs() / self.scales.objects_change).sum((-2, -1)).mean()
        reward = (reading.reward.sigmoid() - labels.reward).square().sum(-1).mean()
        success = F.binary_cross_entropy_with_logits(reading.success, labels.success.float(), reduction="none")
        dynamics = divergence(posterior.detach(), prior).clamp_min(FREE_NATS).mean()
        representation = divergence(posterior, prior.detach()).clamp_min(FREE_NATS).mean()
        heads = telemetry + objects + reward + success.sum(-1).mean()
        total = image + heads + self.config.kl_weight * (dynamics + POSTERIOR_WEIGHT * representation)
        return total, {
            "image": image.detach(),
            "psnr": -10 * torch.log10(squared),
            "telemetry": telemetry.detach(),
            "objects": objects.detach(),
            "success": success.detach().mean(),
            "kl": dynamics.detach(),
        }

    def image_loss(self, features: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted absolute error [nats per frame] and plain mean squared error of images (B, 3, H, W)."""
        error = (self.paint(features) - images).abs()
        distance = (images - self.background).abs().amax(dim=1, keepdim=True)
        weighted = ((1 + PIXEL_WEIGHTS.foreground_weight * distance) * error).mean()
        worst = worst_pixels(error.mean(dim=1).flatten(1)).mean()
        nats = IMAGE_SCALE * self.background.numel() * (weighted + PIXEL_WEIGHTS.worst_weight * worst)
        return nats, error.detach().square().mean()

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """Hash of configuration and weights: the identity that results carry."""
        return weights_digest(self, json.dumps(self.to_json(), sort_keys=True))

    def to_json(self) -> dict[str, Any]:
        """Everything but the weights, as a JSON object."""
        world = {"schema": self.world.schema.to_json(), "camera": self.world.camera}
        return {"rssm": asdict(self.config), **world, "properties": list(self.world.properties)}

    def save(self, folder: Path) -> None:
        """Write `config.json` and `model.safetensors`; each appears whole or not at all."""
        weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        with replacing(folder / "model.safetensors") as temporary:
            save_file(weights, temporary)
        write_json(folder / "config.json", self.to_json())

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> RSSM:
        """Load what `save` wrote."""
        value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        world = World(Schema.from_json(value["schema"]), value["camera"], tuple(value["properties"]))
        weights = load_file(folder / "model.safetensors")
        statistics = Statistics(*(weights[name] for name in Statistics._fields))
        model = cls(RSSMConfig(**value["rssm"]), world, statistics, weights["background"])
        model.load_state_dict(weights)
        return model.to(device).eval()


class RSSMPredictor:
    """The peer as a predictor of `gwm_sim.evaluation.open_loop`: its most likely future."""

    def __init__(self, model: RSSM) -> None:
        """Wrap a model."""
        self._model = model

    def __call__(self, windows: Window, actions: NDArray[Any], horizons: Sequence[int]) -> Prediction:
        """Predict a batch of windows."""
        dream = self.dream(windows, actions)
        asked = torch.tensor(horizons, device=dream.features.device) - 1
        tasks = self._model.world.schema.tasks
        return Prediction(
            frames=self._model.decode(dream.features[:, asked]).cpu().numpy(),
            telemetry=dream.telemetry[:, asked].cpu().numpy(),
            success=dict(zip(tasks, (dream.success[:, -1] > 0.5).cpu().numpy().T, strict=True)),
            course_telemetry=dream.telemetry.cpu().numpy(),
            course_objects=dream.objects.cpu().numpy(),
        )

    def success(self, windows: Window, actions: NDArray[Any]) -> NDArray[Any]:
        """Success probability of each task after every action, (B, T, tasks)."""
        return self.dream(windows, actions).success.cpu().numpy()

    def dream(self, windows: Window, actions: NDArray[Any]) -> Dream:
        """Go on from the frames of a batch of windows with actions (B, T, A)."""
        device = self._model.device
        frames, telemetry, past, properties = (
            torch.from_numpy(value).to(device)
            for value in (windows.frames, windows.telemetry, windows.past_actions, windows.properties)
        )
        before = torch.zeros(len(past), 1, actions.shape[-1], device=device)  # nobody knows what led to the first frame
        context = Sequences(frames, telemetry, torch.cat((before, past), dim=1), properties)
        return self._model.imagine(context, torch.from_numpy(actions).to(device))
