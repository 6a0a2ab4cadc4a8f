"""What helps a search beside the world model: demonstrations, and what was learned from them.

A guide belongs to one world model and lies beside it as `guide.safetensors`. It reads how the robot stands from a goal
picture, finds sub-goals in demonstrations and proposes actions. A shipped model may borrow the guide of another one of
the same robot that looks from the same place: that one then reads the pictures for it.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gwm_sim.data.images import fit
from gwm_sim.data.views import main_view
from gwm_sim.errors import CheckpointError
from gwm_sim.files import replacing
from gwm_sim.model.checkpoint import SHIPPED, find_checkpoint, shipped_models
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.heads import PictureReader
from gwm_sim.model.state import PhysicalState, Rollout, WorldState
from gwm_sim.model.threads import threads_for, weights
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.prior.demonstrations import Demonstrations
from gwm_sim.policies.planning.prior.goal_policy import GoalPolicy, GoalPolicyConfig
from gwm_sim.storage import reason

GUIDE_FILE = "guide.safetensors"
DEMONSTRATIONS = "demonstrations."  # begins the names of their tensors in the file


class Guide:
    """Demonstrations, a policy cloned from them, and a reader of goal pictures."""

    def __init__(
        self,
        model: WorldModel,
        policy: GoalPolicy,
        reader: PictureReader,
        demonstrations: Demonstrations,
        eyes: WorldModel | None = None,
    ) -> None:
        """Put the parts together; they belong to `model`, but for the reader, which belongs to `eyes` if given."""
        self.model, self.policy, self.reader, self.demonstrations = model, policy, reader, demonstrations
        self.eyes = eyes or model
        self._work = weights(policy)  # products of one look, see `threads.py`
        self.file: Path | None = None
        """Where it was read from."""

    @torch.inference_mode()
    def goal(self, picture: NDArray[np.uint8], telemetry: NDArray[np.float32] | None = None) -> Goal:
        """Posture and object positions that a goal picture (H, W, 3) shows; `telemetry` (P,) is read from it if None.

        Raises:
            ValueError: The picture is not of the model's kind.
        """
        Goal.image(self.model, picture)  # refuses what the model cannot see
        return self._pose(self.read(picture, telemetry))

    @torch.inference_mode()
    def read(self, picture: NDArray[np.uint8], telemetry: NDArray[np.float32] | None = None) -> PhysicalState:
        """Robot (1, P) and objects (1, K, 3) that a picture (H, W, 3) shows, see `goal`."""
        if self.eyes is not self.model:
            cameras = self.model.config.cameras  # it shows all of them, or the main one alone
            shown = cameras if picture.shape[1] == self.model.config.tokenizer.frame[1] else cameras[:1]
            own = self.eyes.config.tokenizer
            picture = fit(main_view(picture, shown), (own.height, own.width))
        frames = torch.from_numpy(np.array(picture[None], order="C"))
        with threads_for(self.eyes.tokenizer.work_of_features):  # which is most of it
            features = self.eyes.features(frames)
            given = None if telemetry is None else torch.from_numpy(np.array(telemetry[None], np.float32))
            reported = self.reader(features) if given is None else given.to(self.eyes.device)
            return PhysicalState(reported, self.eyes.locate(features, reported))

    def subgoals(self, world: WorldState, goal: Goal) -> list[Goal]:
        """Goals on the way from a world of one row to a goal, from the demonstration that was most like it."""
        assert goal.telemetry is not None and goal.objects is not None
        columns = self.policy.columns
        ends = PhysicalState(goal.telemetry[0].cpu(), goal.objects[0].cpu())
        scale = self.policy.telemetry_std[columns].cpu()
        found = self.demonstrations.subgoals(self.model.config.dynamics, world.objects[0].cpu(), ends, columns, scale)
        return [self._pose(PhysicalState(*(x[None] for x in stop))) for stop in zip(*found, strict=True)]

    def propose(self, world: WorldState, goal: Goal, steps: int, block: int = 1) -> Tensor:
        """What the policy would do in each of B worlds toward its goal, (B, steps, A).

        One plan step is `block` environment steps with the same action: the mean of those that the policy would take.
        """
        now = PhysicalState(world.telemetry, world.objects)
        with threads_for(len(world) * self._work):
            actions = self.policy(now, world.previous_telemetry, wanted(goal, now)).actions
        still = torch.zeros_like(actions[:, -1:])  # beyond what it proposes, and for targets the last place again
        going = [command.action for command in self.model.config.control.targets]
        still[..., going] = actions[:, -1:, going]
        padded = torch.cat((actions, still.expand(-1, max(0, steps * block - actions.shape[1]), -1)), dim=1)
        return padded[:, : steps * block].unflatten(1, (steps, block)).mean(dim=2)

    def distance(self, rollout: Rollout, actions: Tensor, goal: Goal) -> Tensor:
        """A `StageCost`: how many steps the goal is away after each step, as learned from recordings, (R, T)."""
        now = PhysicalState(rollout.telemetry, rollout.objects)
        before = torch.cat((rollout.telemetry[:, :1], rollout.telemetry[:, :-1]), dim=1)
        target = PhysicalState(*(x[:, None] for x in wanted(goal, PhysicalState(*(x[:, 0] for x in now)))))
        with threads_for(before.shape[0] * before.shape[1] * self._work):
            return self.policy(now, before, target).steps

    def _pose(self, physical: PhysicalState) -> Goal:
        columns = self.policy.columns
        telemetry = torch.full_like(physical.telemetry, torch.nan)
        telemetry[:, columns] = physical.telemetry[:, columns]
        return Goal(telemetry=telemetry.to(self.model.device), objects=physical.objects.to(self.model.device))

    # --- on disk ------------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write one file, whole or not at all."""
        tensors = {f"{DEMONSTRATIONS}{name}": value for name, value in self.demonstrations._asdict().items()}
        tensors |= nn.ModuleDict({"policy": self.policy, "reader": self.reader}).state_dict()
        header = {"policy": asdict(self.policy.config), "tokenizer": self.model.tokenizer_digest()}
        stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with replacing(path) as temporary:
            save_file(stored, temporary, {"guide": json.dumps(header)})
            temporary.chmod(0o644)

    @classmethod
    def load(cls, model: WorldModel, path: Path, eyes: WorldModel | None = None) -> "Guide":
        """Read a guide for a model, that of another one if this lends its `eyes`.

        Raises:
            CheckpointError: The file is damaged, or the guide belongs to another model.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header: dict[str, Any] = json.loads(file.metadata()["guide"])
            tensors = load_file(path, device=str(model.device))
            if header["tokenizer"] != (eyes or model).tokenizer_digest():
                raise CheckpointError(
                    f"{path} was learned for another model than {model.config.name}: learn a new one with --demos"
                )
            policy, reader = GoalPolicy(GoalPolicyConfig(**header["policy"]), model), reader_of(eyes or model)
            parts = {name: tensors.pop(f"{DEMONSTRATIONS}{name}").cpu() for name in Demonstrations._fields}
            modules = nn.ModuleDict({"policy": policy, "reader": reader}).to(model.device).eval()
            modules.load_state_dict(tensors)
        except CheckpointError:
            raise
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            why = reason(error)
            said = f"cannot be read: {why}" if why else f"is not a complete guide: {error}"
            raise CheckpointError(f"{path} {said}") from error
        guide = cls(model, policy, reader, Demonstrations(**parts), eyes)
        guide.file = path
        return guide

    @classmethod
    def beside(cls, model: WorldModel, name: str | Path, borrow: bool = False) -> "Guide | None":
        """The guide that lies beside a checkpoint, given by name or folder as for `WorldModel.load`; None without.

        A shipped model without one borrows that of another shipped one that knows its robot and looks from the same
        place, any model does with `borrow`.
        """
        folder = find_checkpoint(name)
        if (folder / GUIDE_FILE).exists():
            return cls.load(model, folder / GUIDE_FILE)
        for lender in shipped_models() if borrow or folder.parent == SHIPPED else []:
            path = SHIPPED / lender / GUIDE_FILE
            eyes = WorldModel.load(lender, model.device) if path.exists() else None
            if eyes is not None and looks_alike(model.config, eyes.config):
                return cls.load(model, path, eyes)
        return None


def reader_of(model: WorldModel) -> PictureReader:
    """A reader of the pictures of a model, with fresh weights."""
    return PictureReader(model.feature_channels, model.statistics)


def looks_alike(one: WorldModelConfig, other: WorldModelConfig) -> bool:
    """Whether two models are of the same robot and objects, and their main cameras stand in the same place."""
    ours, theirs = (config.schema.cameras[config.camera] for config in (one, other))
    names = ("telemetry_names", "action_names", "object_names")
    same = all(getattr(one.schema, name) == getattr(other.schema, name) for name in names)
    return same and replace(theirs, height=ours.height, width=ours.width).looks_as(ours)


def wanted(goal: Goal, like: PhysicalState) -> PhysicalState:
    """What a goal asks for, in the shapes of a physical state; NaN where it asks for nothing."""
    return PhysicalState(
        torch.full_like(like.telemetry, torch.nan) if goal.telemetry is None else goal.telemetry,
        torch.full_like(like.objects, torch.nan) if goal.objects is None else goal.objects,
    )


def read_goal(
    model: WorldModel, guide: Guide | None, picture: NDArray[np.uint8], telemetry: NDArray[np.float32] | None = None
) -> Goal:
    """What a goal picture asks for: positions where there is a guide that reads them, else the picture as a whole."""
    return Goal.image(model, picture, telemetry) if guide is None else guide.goal(picture, telemetry)
