"""What a policy network is made of: inputs scaled to about [-1, 1] and seen from the gripper, normalised layers."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from gwm_sim.envs.learned.observations import OBJECTS

NEAR = 0.1  # offset of an object that counts as 1 [m]: a grasp is decided by millimetres


class StateExtractor(BaseFeaturesExtractor):
    """Scales a Dict of vectors by the bounds of its spaces, so that no running statistics have to be kept.

    Offsets from the end-effector to each object are added: to an MLP on absolute positions they are the difference of
    two large numbers.
    """

    low: Tensor
    high: Tensor

    def __init__(self, observation_space: spaces.Dict, effector: Sequence[int] = (), misread: float = 0.0) -> None:
        """Make the extractor.

        Args:
            observation_space: Vectors with finite bounds.
            effector: Where in `agent_pos` the end-effector's position is, in the frame of the objects; empty for none.
            misread: Standard deviation [m] of what is added to object positions while the network is trained: pictures
                are read with an error that imagined positions do not have.
        """
        boxes = {key: box for key, box in observation_space.items() if isinstance(box, spaces.Box)}
        self._objects = boxes[OBJECTS].shape[0] // 3 if OBJECTS in boxes and effector else 0
        super().__init__(observation_space, sum(box.shape[0] for box in boxes.values()) + 3 * self._objects)
        self._keys = tuple(boxes)
        self._effector = list(effector)
        self._misread = misread
        for name in ("low", "high"):
            bounds = torch.cat([torch.from_numpy(getattr(box, name)) for box in boxes.values()])
            self.register_buffer(name, bounds, persistent=False)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Features (B, F) of observations, each (B, ...)."""
        if self._misread and self.training and OBJECTS in observations:
            place = observations[OBJECTS]
            observations = {**observations, OBJECTS: place + self._misread * torch.randn_like(place)}
        values = torch.cat([observations[key] for key in self._keys], dim=1)
        features = [2 * (values - self.low) / (self.high - self.low) - 1]
        if self._objects:
            place = observations[OBJECTS].unflatten(1, (self._objects, 3))
            offset = (place - observations["agent_pos"][:, None, self._effector]) / NEAR
            features.append(offset.clamp(-3, 3).flatten(1))
        return torch.cat(features, dim=1)


class NormalisedReLU(nn.Module):
    """ReLU of the normalised layer: keeps the critic from overestimating what is not in its data (RLPD, Ball et al.,
    2023, https://arxiv.org/abs/2302.02948), and takes no width, so that SB3 accepts it as an activation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Activate a layer (B, F)."""
        return F.relu(F.layer_norm(x, x.shape[-1:]))
