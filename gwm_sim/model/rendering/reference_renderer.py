"""Renders the picture of a state from a reference: the last real frame, and the state that it shows.

The state says where things, end-effector and points of the robot are in each view; a network puts the picture together
(`compositor.py`). No picture depends on another imagined one, so errors do not add up over a rollout, and a state is
drawn at the same cost whenever somebody looks. How the robot looks from where it is to be, an exemplar shows: of some
real frames of other episodes, which the model keeps, the one in which the robot is most like that.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.config import TokenizerConfig
from gwm_sim.model.dynamics import Dynamics
from gwm_sim.model.rendering.compositor import Compositor, Scene
from gwm_sim.model.rendering.renderer import project
from gwm_sim.model.state import PhysicalState
from gwm_sim.model.tokenizer import to_images

SPREAD = 0.2  # usual standard deviation of a point of the robot, as a share of a view's height
POINT = 1 / 8  # size of a point of the robot, and of a thing whose size is not known, as a share of a view's height


class ReferenceRenderer(nn.Module):
    """Draws states from references, all views of a picture by the same network."""

    view: Tensor
    exemplar_frames: Tensor  # (N, H, V*W, 3) uint8
    exemplar_telemetry: Tensor  # (N, P)
    exemplar_objects: Tensor  # (N, K, 3)

    def __init__(self, dynamics: Dynamics, pictures: TokenizerConfig) -> None:
        """Draw what the `dynamics` predicts in such pictures."""
        super().__init__()
        c = dynamics.config
        self.config, self.token = c, pictures.token
        self.views = dynamics.views
        self.effectors = bool(c.effector)
        self.rides = c.rides or (False,) * self.views
        self.register_buffer("view", torch.tensor(c.view).view(-1, 3, 4), persistent=False)
        robot = c.telemetry + c.of_scene + (self.views if self.views > 1 else 0)
        points = self.effectors + c.points
        self.compositor = Compositor(c.objects + points, points if c.exemplars else 0, robot, c.reference)
        self.register_buffer("exemplar_frames", torch.zeros(c.exemplars, *pictures.frame, dtype=torch.uint8))
        self.register_buffer("exemplar_telemetry", torch.zeros(c.exemplars, c.telemetry))
        self.register_buffer("exemplar_objects", torch.zeros(c.exemplars, c.objects, 3))
        self.work = self.compositor.work(c.grid[0] * self.token * c.grid[1] * self.token)

    def forward(
        self,
        reference: Tensor,
        backgrounds: Tensor,
        shown: tuple[PhysicalState, Tensor],
        wanted: tuple[PhysicalState, Tensor],
        dynamics: Dynamics,
        spared: Tensor | None = None,
    ) -> Tensor:
        """Pictures (B, V, 3, H, W) around 0 of wanted states, from references of the same shape and the states that
        these show, and the empty scene (V, 3, H, W); states with their residuals (B, R), without an axis of time.
        Exemplars that are `spared` (B, N) are not used."""
        height, width = reference.shape[3:]
        below, right = (n * self.token - side for n, side in zip(self.config.grid, (height, width), strict=True))
        pictures, states = [reference, backgrounds.expand_as(reference)], [shown, wanted]
        if self.config.exemplars:
            alike = self.alike(wanted[0].telemetry, dynamics, spared)
            pictures.append(to_images(self.exemplar_frames[alike], self.views))
            states.append((PhysicalState(self.exemplar_telemetry[alike], self.exemplar_objects[alike]), wanted[1]))
        padded = [F.pad(x.flatten(0, 1), (0, right, 0, below), mode="replicate") for x in pictures]
        scenes = [self.scene(*state, dynamics) for state in states]
        drawn = self.compositor(*padded[:2], *scenes[:2], *padded[2:], *scenes[2:])
        return drawn[..., :height, :width].unflatten(0, reference.shape[:2])

    def alike(self, telemetry: Tensor, dynamics: Dynamics, spared: Tensor | None = None) -> Tensor:
        """Which exemplar shows the robot most like telemetry (B, P) has it, (B,)."""
        known, wanted = (self.posture(x, dynamics) for x in (self.exemplar_telemetry, telemetry))
        apart = (wanted[:, None] - known).square().sum(dim=-1)
        return (apart if spared is None else apart.masked_fill(spared, torch.inf)).argmin(dim=1)

    def posture(self, telemetry: Tensor, dynamics: Dynamics) -> Tensor:
        """Telemetry (B, P), and where it has points of the robot, so that distances count both alike, (B, D)."""
        level = (telemetry - dynamics.telemetry_mean) / dynamics.telemetry_std
        points = dynamics.points(telemetry).flatten(1) / (self.config.grid[0] * self.token * SPREAD)
        return torch.cat([x / x.shape[1] ** 0.5 for x in (level, points)], dim=1)

    def pixels(self, seen: Tensor) -> Tensor:
        """Places in tokens as columns and rows [px]."""
        return seen * self.token + 0.5 * (self.token - 1)

    def sizes(self, things: Tensor) -> Tensor:
        """Apparent sizes (...) [px] of things (..., 3)."""
        if self.config.object_frame == "image":
            return things[..., 2]
        return torch.full_like(things[..., 2], self.config.grid[0] * self.token * POINT)

    def things(self, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Where objects (B, K, 3) are in the main view, column and row (B, K, 2) and size (B, K) [px]."""
        return self.pixels(project(self.view[0], objects)[0]), self.sizes(objects)

    def scene(self, physical: PhysicalState, residual: Tensor, dynamics: Dynamics) -> Scene:
        """What states (B, ...) say of B*V pictures."""
        c, telemetry = self.config, physical.telemetry
        height = c.grid[0] * self.token
        things, mount = physical.objects, dynamics.effector(telemetry[:, None])[:, 0]
        if self.effectors:
            things = torch.cat((things, mount), dim=1)
        there = things[..., 0].isfinite()
        things = things.nan_to_num(0.0)
        places, sizes = [], []
        for view, rides in zip(self.view, self.rides, strict=True):
            seen, _ = project(view, things - mount if rides else things)
            places.append(self.pixels(seen))
            sizes.append(self.sizes(things))
        place, size = torch.stack(places, dim=1), torch.stack(sizes, dim=1)  # (B, V, E, 2), (B, V, E)
        present = there[:, None].expand_as(size).to(place.dtype)
        turns = torch.zeros_like(place)
        if c.turns:  # in the picture of the main camera
            turns[:, 0, : c.objects] = residual[:, c.of_scene :].unflatten(1, (-1, 2))
        if c.points:
            points = dynamics.points(telemetry)
            place = torch.cat((place, points), dim=2)
            size = torch.cat((size, torch.full_like(points[..., 0], height * POINT)), dim=2)
            present = torch.cat((present, torch.ones_like(points[..., 0])), dim=2)
            turns = torch.cat((turns, torch.zeros_like(points)), dim=2)
        level = ((telemetry - dynamics.telemetry_mean) / dynamics.telemetry_std).clamp(-10, 10)
        robot = torch.cat((level, residual[:, : c.of_scene]), dim=-1)[:, None].expand(-1, self.views, -1)
        if self.views > 1:
            which = torch.eye(self.views, device=robot.device, dtype=robot.dtype).expand(len(robot), -1, -1)
            robot = torch.cat((robot, which), dim=-1)
        whole = (place, size.clamp_min(2.0), present, turns, robot)
        return Scene(*(x.flatten(0, 1) for x in whole))
