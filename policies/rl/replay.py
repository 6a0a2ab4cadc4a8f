"""Experience to learn from: what the agent did itself, and in every batch as much of what it was shown."""

import torch
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize


class DemonstrationReplay(DictReplayBuffer):
    """A replay buffer of which half of every batch are demonstrations, once it has some.

    Learning from both at once needs neither a phase of cloning nor a weight between two losses (RLPD, Ball et al.,
    2023, https://arxiv.org/abs/2302.02948).
    """

    demonstrations: DictReplayBuffer | None = None

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> DictReplayBufferSamples:  # type: ignore[override]
        """Draw transitions."""
        if self.demonstrations is None:
            return super().sample(batch_size, env)
        shown = batch_size // 2
        own, theirs = super().sample(batch_size - shown, env), self.demonstrations.sample(shown, env)
        return DictReplayBufferSamples(
            observations={
                key: torch.cat((own.observations[key], theirs.observations[key])) for key in own.observations
            },
            actions=torch.cat((own.actions, theirs.actions)),
            next_observations={
                key: torch.cat((own.next_observations[key], theirs.next_observations[key]))
                for key in own.next_observations
            },
            dones=torch.cat((own.dones, theirs.dones)),
            rewards=torch.cat((own.rewards, theirs.rewards)),
        )
