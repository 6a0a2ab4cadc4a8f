"""Search for cheap action sequences: CEM, iCEM and MPPI over tensors alone.

They know costs, bounds and noise, and nothing of models, robots or goals. All B problems of a batch are searched at
once and stay independent: each has its own generator, and row i is planned as it would be alone. Every planner returns
the best sequence that it evaluated, so it can be stopped after any iteration.

Axes: B problems, S candidate sequences, T plan steps, A action. Actions are in the units of the environment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

import torch
from torch import Tensor

from gwm_sim.errors import ConfigError

Cost = Callable[[Tensor], Tensor]
"""Maps action sequences (B, S, T, A) to their costs (B, S); lower is better."""

PerAction = float | tuple[float, ...]
"""One number for all dimensions of the action, or one for each."""

WORST: Final = 1e30  # stands for costs that are NaN or infinite: such a candidate never wins against a finite one
LEVEL_BORDER: Final = 1 / 3  # in halves of the range: thirds of it become low, middle and high


# --- the problem ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounds:
    """The actions that may be taken."""

    low: Tensor  # (A,)
    high: Tensor  # (A,)
    three_level: tuple[int, ...] = ()
    """Dimensions that are either low, in the middle or high, such as the rate of a gripper."""

    @property
    def middle(self) -> Tensor:
        return (self.low + self.high) / 2

    @property
    def half_range(self) -> Tensor:
        return (self.high - self.low) / 2

    def clip(self, actions: Tensor) -> Tensor:
        """The nearest actions in the box, (..., A)."""
        return torch.minimum(torch.maximum(actions, self.low), self.high)

    def admit(self, actions: Tensor) -> Tensor:
        """The nearest actions that may be taken, (..., A)."""
        actions = self.clip(actions)
        if self.three_level:
            dims = list(self.three_level)
            middle, half = self.middle[dims], self.half_range[dims]
            unit = (actions[..., dims] - middle) / half
            actions[..., dims] = middle + half * unit.sign() * (unit.abs() > LEVEL_BORDER)
        return actions


@dataclass(frozen=True)
class WarmStart:
    """What is believed before a search: where to look first, and sequences worth a try."""

    mean: Tensor  # (B, T, A)
    guesses: Tensor  # (B, G, T, A), best first; G may be 0

    @classmethod
    def hold(cls, problems: int, steps: int, actions: int, device: torch.device | None = None) -> "WarmStart":
        """Begin from zeros, without guesses."""
        mean = torch.zeros(problems, steps, actions, device=device)
        return cls(mean, mean[:, None][:, :0])

    def add(self, proposals: Tensor) -> "WarmStart":
        """Also try some sequences, (B, R, T, A)."""
        return WarmStart(self.mean, torch.cat((self.guesses, proposals), dim=1))

    def around(self, proposal: Tensor) -> "WarmStart":
        """Look around the sequence that a prior proposes, (B, T, A); what was believed before is tried as well."""
        return WarmStart(proposal, torch.cat((self.mean[:, None], self.guesses), dim=1))

    def shift(self, steps: int) -> "WarmStart":
        """The same beliefs after the first `steps` plan steps were executed; zeros come in at the end."""
        return WarmStart(_shift(self.mean, steps), _shift(self.guesses, steps))

    def select(self, rows: Sequence[int]) -> "WarmStart":
        """The beliefs of some problems."""
        return WarmStart(self.mean[rows], self.guesses[rows])

    @classmethod
    def join(cls, starts: Sequence["WarmStart"]) -> "WarmStart":
        """Put several batches into one; where some have fewer guesses, their mean fills up."""
        most = max(start.guesses.shape[1] for start in starts)
        filled = [
            start.add(start.mean[:, None].expand(-1, most - start.guesses.shape[1], -1, -1)).guesses for start in starts
        ]
        return cls(torch.cat([start.mean for start in starts]), torch.cat(filled))


def _shift(sequences: Tensor, steps: int) -> Tensor:
    return torch.cat((sequences[..., steps:, :], torch.zeros_like(sequences[..., :steps, :])), dim=-2)


@dataclass(frozen=True)
class Plan:
    """What a search found."""

    actions: Tensor  # (B, T, A), the best sequence that was evaluated
    cost: Tensor  # (B,), its cost; infinite if there was no time to evaluate any
    start: WarmStart  # what was learned for the next search, to be shifted by the executed steps
    iterations: int  # that were completed


# --- settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How candidates are drawn, which every planner is told."""

    population: int = 64
    """Candidates of the first iteration, guesses included."""
    iterations: int = 4
    """Rounds of sampling and refitting."""
    std: PerAction = 0.5
    """Standard deviation of the first candidates, in halves of the range."""
    colour: PerAction = 0.0
    """Exponent of the noise spectrum over plan steps: 0 white, 2 Brownian; larger is smoother."""

    def __post_init__(self) -> None:
        if self.population < 2 or self.iterations < 1:
            raise ConfigError(
                f"a search needs at least 2 candidates and 1 iteration, got population={self.population}, "
                f"iterations={self.iterations}"
            )


@dataclass(frozen=True, kw_only=True)
class CemSettings(Sampling):
    """Cross-entropy method (Rubinstein, 1999): refit a Gaussian to the elites, again and again."""

    elites: int = 10
    """Candidates that the Gaussian is refitted to."""
    min_std: PerAction = 0.05
    """Below this it does not fall, in halves of the range."""
    momentum: float = 0.1
    """Share of the old mean and deviation that remains in the new ones."""
    decay: float = 1.0
    """The population shrinks by this factor in each iteration, to no less than twice the elites."""
    reuse: float = 0.0
    """Share of the elites that competes again in the next iteration and, shifted, in the next plan."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.elites <= self.population:
            raise ConfigError(f"elites must be from 1 to the population of {self.population}, got {self.elites}")
        if self.decay < 1:
            raise ConfigError(f"decay divides the population and must be at least 1, got {self.decay}")
        for name in ("momentum", "reuse"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a share from 0 to 1, got {getattr(self, name)}")

    def size(self, iteration: int) -> int:
        """Candidates in an iteration."""
        least = min(self.population, 2 * self.elites)
        return max(least, int(self.population / self.decay**iteration))


@dataclass(frozen=True, kw_only=True)
class IcemSettings(CemSettings):
    """CEM with the improvements of iCEM (Pinneri et al., 2020): smooth noise, kept elites, shrinking population."""

    colour: PerAction = 2.0
    decay: float = 1.25
    reuse: float = 0.3


@dataclass(frozen=True, kw_only=True)
class MppiSettings(Sampling):
    """Model predictive path integral control (Williams et al., 2017), iterated with less and less noise.

    Its control cost is left out: effort belongs into the objective, where it is seen.
    """

    anneal: float = 0.7
    """Factor on the standard deviation from one iteration to the next."""
    temperature: float = 0.1
    """How much worse candidates count, in units of the distance from the best to the median cost."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature <= 0:
            raise ConfigError(f"temperature must be positive, got {self.temperature}")


Settings = CemSettings | MppiSettings

PLANNERS: Final[dict[str, Settings]] = {"cem": CemSettings(), "icem": IcemSettings(), "mppi": MppiSettings()}


def sized(planner: str, population: int, iterations: int) -> Settings:
    """Settings of a planner by name with another size; a quarter of the candidates, but at least two, are elites."""
    settings = PLANNERS[planner]
    if isinstance(settings, CemSettings):
        return replace(settings, population=population, iterations=iterations, elites=max(2, population // 4))
    return replace(settings, population=population, iterations=iterations)


# --- the planners -----------------------------------------------------------------------------------------------------


def plan(
    cost: Cost,
    start: WarmStart,
    bounds: Bounds,
    generators: Sequence[torch.Generator],
    settings: Settings,
    deadline: float | None = None,
) -> Plan:
    """Search with the planner that the settings belong to.

    Args:
        cost: The costs of all problems.
        start: Where to begin; the first population holds its mean and its guesses.
        bounds: The permitted actions; no other is ever evaluated or returned.
        generators: One per problem, on the CPU; nothing else is random.
        settings: Of the planner.
        deadline: Reading of `time.monotonic()` [s] after which no iteration should end: none is begun that would last
            beyond it if it took as long as the one before. After a deadline that is past already, the mean is
            returned unevaluated.
    """
    search = _Search(cost, start, bounds, generators, settings, deadline)
    following = _mppi(search, settings) if isinstance(settings, MppiSettings) else _cem(search, settings)
    return Plan(search.best, search.best_cost, following, search.iterations)


cem = mppi = plan
"""The settings say which of both it is."""


def _cem(search: "_Search", settings: CemSettings) -> WarmStart:
    """The cross-entropy method, with `IcemSettings` iCEM."""
    mean, kept, m = search.mean, search.start.guesses, settings.momentum
    std = search.per_action("std", settings.std).expand_as(mean)
    least = search.per_action("min_std", settings.min_std)
    while search.goes_on():
        actions, costs = search.evaluate(mean, std, kept, settings.size(search.iterations))
        order = costs.argsort(dim=1, stable=True)[:, : settings.elites]
        elites = actions.take_along_dim(order[..., None, None], dim=1)
        mean = m * mean + (1 - m) * elites.mean(dim=1)
        std = torch.maximum(m * std + (1 - m) * elites.std(dim=1, correction=0), least)
        kept = elites[:, : round(settings.reuse * settings.elites)]
    return WarmStart(mean, kept)


def _mppi(search: "_Search", settings: MppiSettings) -> WarmStart:
    """Model predictive path integral control.

    The weighted mean is executed only if it is the best sequence: it competes in the last iteration like the others.
    """
    mean, guesses = search.mean, search.start.guesses
    std = search.per_action("std", settings.std)
    while search.goes_on():
        actions, costs = search.evaluate(mean, std, guesses, settings.population)
        excess = costs - costs.amin(dim=1, keepdim=True)
        unit = settings.temperature * excess.median(dim=1, keepdim=True).values.clamp(min=1e-12)
        weights = (-excess / unit).softmax(dim=1)
        mean = (weights[..., None, None] * actions).sum(dim=1)
        std = settings.anneal * std
        guesses = guesses[:, :0]
    return WarmStart(mean, guesses)


@dataclass
class _Search:
    """What the planners share: candidates, the best so far, and the clock."""

    cost: Cost
    start: WarmStart
    bounds: Bounds
    generators: Sequence[torch.Generator]
    settings: Settings
    deadline: float | None
    iterations: int = 0
    """Completed so far."""
    duration: float = 0.0
    """Of the last iteration [s]."""

    def __post_init__(self) -> None:
        mean = self.start.mean
        if len(self.generators) != len(mean):
            raise ValueError(f"{len(mean)} problems need as many generators, got {len(self.generators)}")
        self.colour = self.per_action("colour", self.settings.colour, unit=1.0)
        self.mean = self.bounds.clip(mean)
        self.best = self.bounds.admit(mean)
        self.best_cost = torch.full_like(self.best[:, 0, 0], torch.inf)

    def per_action(self, name: str, value: PerAction, unit: float | None = None) -> Tensor:
        """A setting for each dimension of the action (A,), times `unit`, by default half of the range."""
        half_range = self.bounds.half_range
        values = torch.as_tensor(value, dtype=half_range.dtype, device=half_range.device)
        if values.ndim and values.shape != half_range.shape:
            raise ValueError(f"{name} must be one number or one per action ({len(half_range)}), got {value}")
        return (values * (half_range if unit is None else unit)).expand_as(half_range)

    def goes_on(self) -> bool:
        """Whether there is another iteration, and time for it."""
        if self.iterations == self.settings.iterations:
            return False
        return self.deadline is None or monotonic() + self.duration < self.deadline

    def evaluate(self, mean: Tensor, std: Tensor, given: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Evaluate `size` candidates: those given (B, G, T, A), which are never left out, and samples around the mean.

        The mean itself competes in the first iteration, so that no plan is worse than the one before, and in the last
        one, when it is better than most samples; in each one it would narrow the search too early (Pinneri et al.).

        Returns:
            The candidates (B, S, T, A) and their costs (B, S).
        """
        begun = monotonic()
        if self.iterations in (0, self.settings.iterations - 1):
            given = torch.cat((mean[:, None], given), dim=1)
        count = max(1, size - given.shape[1])
        noise = coloured_noise(self.generators, count, mean.shape[1], self.colour)
        samples = mean[:, None] + std.expand_as(mean)[:, None] * noise
        actions = self.bounds.admit(torch.cat((given, samples), dim=1))
        costs = self.cost(actions)
        if costs.shape != actions.shape[:2]:
            raise ValueError(f"the costs must have shape {tuple(actions.shape[:2])}, got {tuple(costs.shape)}")
        costs = torch.nan_to_num(costs, nan=WORST, posinf=WORST)
        lowest, index = costs.min(dim=1)
        found = actions.take_along_dim(index[:, None, None, None], dim=1)[:, 0]
        better = lowest < self.best_cost
        self.best = torch.where(better[:, None, None], found, self.best)
        self.best_cost = torch.where(better, lowest, self.best_cost)
        self.iterations += 1
        self.duration = monotonic() - begun
        return actions, costs


def coloured_noise(generators: Sequence[torch.Generator], candidates: int, steps: int, exponents: Tensor) -> Tensor:
    """Gaussian noise whose power falls with frequency f as f^-exponent (Timmer and Koenig, 1995).

    The mean of a sequence is treated like its slowest oscillation, of frequency 1/T; every number has variance 1.

    Args:
        generators: One per problem, on the CPU.
        candidates: Sequences per problem, S.
        steps: Length of the sequences, T.
        exponents: One per dimension of the action, (A,); 0 is white.

    Returns:
        Noise (B, S, T, A) on the device of the exponents.
    """
    frequency = torch.fft.rfftfreq(steps)
    frequency[0] = 1 / steps
    amplitude = frequency[:, None] ** (-exponents.cpu() / 2)  # (F, A)
    index = torch.arange(len(frequency))
    single = (index == 0) | (2 * index == steps)  # frequencies without a phase; the others are there twice, conjugated
    amplitude = amplitude / ((2.0 - single.float())[:, None] * amplitude.square()).sum(dim=0).sqrt()
    shares = torch.stack((torch.where(single, 1.0, 0.5), torch.where(single, 0.0, 0.5)), dim=1).sqrt()  # (F, 2)
    shape = (candidates, *amplitude.shape, 2)
    white = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    spectrum = torch.view_as_complex(white * shares[:, None]) * amplitude
    return torch.fft.irfft(spectrum, n=steps, dim=2, norm="forward").to(exponents.device)
