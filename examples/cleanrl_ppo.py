"""PPO in one file, in the manner of CleanRL, on the plain vector environment: Gymnasium and torch, nothing else.

python examples/cleanrl_ppo.py --iterations 40
"""

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import Tensor, nn

GAMMA, LAMBDA, CLIP, EPOCHS, BATCHES = 0.95, 0.9, 0.2, 6, 8


class Agent(nn.Module):
    """Actor and critic on telemetry."""

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.actor, self.critic = (
            nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))
            for outputs in (actions, 1)
        )
        self.log_std = nn.Parameter(torch.full((actions,), -0.5))

    def act(self, observation: Tensor) -> torch.distributions.Normal:
        return torch.distributions.Normal(self.actor(observation), self.log_std.exp())


def main(env: str = "gwm_sim:GWM-BlockReach-v0", model: str = "gwm-mini", rows: int = 16, iterations: int = 2) -> None:
    """Learn from telemetry alone and print the mean reward of every iteration.

    Args:
        env: Id of a learned environment.
        model: World model, a shipped one or a folder.
        rows: Worlds that are imagined at a time.
        iterations: Rollouts to learn from.
    """
    torch.manual_seed(0)
    envs = gym.make_vec(env, num_envs=rows, model=model)  # SAME_STEP: what is returned is always worth acting on
    observation, _ = envs.reset(seed=0)
    seen = torch.tensor(observation["agent_pos"])
    agent = Agent(seen.shape[1], 4)
    optimiser = torch.optim.Adam(agent.parameters(), 1e-3)
    for iteration in range(iterations):
        steps: list[tuple[Tensor, ...]] = []
        for _ in range(30):
            with torch.no_grad():
                chosen = agent.act(seen)
                action = chosen.sample()
                value = agent.critic(seen)[:, 0]
            observation, reward, terminated, truncated, infos = envs.step(action.clamp(-1, 1).numpy())
            reward = np.asarray(reward, np.float32)
            if truncated.any():  # the time limit is no end: what would have come counts
                last = torch.tensor(np.stack([o["agent_pos"] for o in infos["final_obs"][truncated]]))
                with torch.no_grad():
                    reward[truncated] += GAMMA * agent.critic(last)[:, 0].numpy()
            done = torch.tensor(terminated | truncated)
            steps.append((seen, action, chosen.log_prob(action).sum(1), value, torch.tensor(reward), done))
            seen = torch.tensor(observation["agent_pos"])
        states, actions, log_probs, values, rewards, dones = map(torch.stack, zip(*steps, strict=True))
        with torch.no_grad():
            following = torch.cat((values[1:], agent.critic(seen)[None, :, 0]))
        advantages, carried = torch.zeros_like(rewards), torch.zeros(rows)
        for t in reversed(range(len(rewards))):
            going_on = 1 - dones[t].float()
            surprise = rewards[t] + GAMMA * going_on * following[t] - values[t]
            advantages[t] = carried = surprise + GAMMA * LAMBDA * going_on * carried
        data = [x.flatten(0, 1) for x in (states, actions, log_probs, advantages, advantages + values)]
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(data[0])).chunk(BATCHES):
                state, action, old, advantage, target = (x[batch] for x in data)
                ratio = (agent.act(state).log_prob(action).sum(1) - old).exp()
                scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                gain = torch.minimum(ratio * scaled, ratio.clamp(1 - CLIP, 1 + CLIP) * scaled).mean()
                loss = 0.5 * (agent.critic(state)[:, 0] - target).square().mean() - gain
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimiser.step()
        print(f"iteration {iteration + 1}: mean reward {rewards.mean():.3f}")


if __name__ == "__main__":
    tyro.cli(main)
