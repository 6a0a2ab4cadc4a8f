"""Renders the picture of a state from a reference: the last real frame, and the state that it shows.

The state says where things, end-effector and points of the robot are in each view; a network puts the picture together
(`compositor.py`). No picture depends on another imagined one, so errors do not add up over a rollout, and a state is
drawn at the same cost whenever somebody looks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.config import CELL
from gwm_sim.model.dynamics import Dynamics
from gwm_sim.model.rendering.compositor import Compositor, Scene
from gwm_sim.model.rendering.renderer import project
from gwm_sim.model.state import PhysicalState

POINT = 1 / 8  # size of a point of the robot, and of a thing whose size is not known, as a share of a view's height


class ReferenceRenderer(nn.Module):
    """Draws states from references, all views of a picture by the same network."""

    view: Tensor

    def __init__(self, dynamics: Dynamics, pack: int) -> None:
        """Draw what the `dynamics` predicts, in views whose tokens are `pack` cells wide."""
        super().__init__()
        c = dynamics.config
        self.config, self.token = c, CELL * pack
        self.views = dynamics.views
        self.effectors = bool(c.effector)
        self.rides = c.rides or (False,) * self.views
        self.register_buffer("view", torch.tensor(c.view).view(-1, 3, 4), persistent=False)
        robot = c.telemetry + c.residual + (self.views if self.views > 1 else 0)
        self.compositor = Compositor(c.objects + self.effectors + c.points, robot, c.reference)
        self.work = self.compositor.work(c.grid[0] * self.token * c.grid[1] * self.token)

    def forward(
        self,
        reference: Tensor,
        backgrounds: Tensor,
        shown: tuple[PhysicalState, Tensor],
        wanted: tuple[PhysicalState, Tensor],
        dynamics: Dynamics,
    ) -> Tensor:
        """Pictures (B, V, 3, H, W) around 0 of wanted states, from references of the same shape and the states that
        these show, and the empty scene (V, 3, H, W); states with their residuals (B, R), without an axis of time."""
        height, width = reference.shape[3:]
        below, right = (n * self.token - side for n, side in zip(self.config.grid, (height, width), strict=True))
        pictures = (x.flatten(0, 1) for x in (reference, backgrounds.expand_as(reference)))
        whole = (F.pad(x, (0, right, 0, below), mode="replicate") for x in pictures)
        scenes = (self.scene(*state, dynamics) for state in (shown, wanted))
        return self.compositor(*whole, *scenes)[..., :height, :width].unflatten(0, reference.shape[:2])

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
            places.append(seen * self.token + 0.5 * (self.token - 1))
            sizes.append(
                things[..., 2] if c.object_frame == "image" else torch.full_like(things[..., 2], height * POINT)
            )
        place, size = torch.stack(places, dim=1), torch.stack(sizes, dim=1)  # (B, V, E, 2), (B, V, E)
        present = there[:, None].expand_as(size).to(place.dtype)
        if c.points:
            points = dynamics.points(telemetry)
            place = torch.cat((place, points), dim=2)
            size = torch.cat((size, torch.full_like(points[..., 0], height * POINT)), dim=2)
            present = torch.cat((present, torch.ones_like(points[..., 0])), dim=2)
        level = ((telemetry - dynamics.telemetry_mean) / dynamics.telemetry_std).clamp(-10, 10)
        robot = torch.cat((level, residual), dim=-1)[:, None].expand(-1, self.views, -1)
        if self.views > 1:
            which = torch.eye(self.views, device=robot.device, dtype=robot.dtype).expand(len(robot), -1, -1)
            robot = torch.cat((robot, which), dim=-1)
        whole = (place, size.clamp_min(2.0), present, robot)
        return Scene(*(x.flatten(0, 1) for x in whole))
