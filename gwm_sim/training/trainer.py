"""The training loop: budget, learning rate, averaged weights, progress, and a state on disk that is always whole."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gwm_sim.errors import GwmError
from gwm_sim.extras import install_command
from gwm_sim.files import replacing
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress
from gwm_sim.training.distributed import average_, by_first, is_first, replicate_, time_of_first
from gwm_sim.training.phases.phase import Phase

SAVE_EVERY = 60.0  # [s]
SAMPLE_EVERY = 300.0  # [s]
REPORT_EVERY = 1.0  # [s]
STATE_FILE = "training.safetensors"
CHECKS = 20  # of the loss on validation episodes, per budget


@dataclass
class PhaseClock:
    """Progress through the budget of one phase, across interruptions."""

    seconds: float | None
    steps: int | None
    elapsed: float = 0.0
    step: int = 0
    _since: float = field(default_factory=time.monotonic)

    def tick(self) -> None:
        now = time.monotonic()
        self.elapsed, self._since = self.elapsed + now - self._since, now
        if self.seconds is not None:  # all processes must end alike
            self.elapsed = time_of_first(self.elapsed)
        self.step += 1

    @property
    def progress(self) -> float:
        """Part of the budget that is used, in [0, 1]."""
        if self.steps is not None:
            return min(1.0, self.step / self.steps)
        assert self.seconds is not None
        return min(1.0, self.elapsed / self.seconds)


@dataclass
class Best:
    """What is known so far; progress is a share of the budget."""

    loss: float = math.inf  # lowest loss on validation episodes
    at: float = 0.0  # progress at which it was measured
    checked: float = 0.0  # progress at the last check
    due: float = 0.0  # progress from which the next check is due


@dataclass
class EarlyStop:
    """Ends a phase with the weights of the moment at which it knew unseen episodes best, and not long after that."""

    loss: Callable[[], Tensor]  # loss on validation episodes of the weights that the model has when it is called
    patience: float  # share of the budget without improvement after which it is enough
    best: Best = field(default_factory=Best)
    weights: dict[str, Tensor] = field(default_factory=dict)  # weights of the best moment
    since: float = 0.0  # progress before which it never is enough: until then something else is learned

    def due(self, progress: float) -> bool:
        """Whether to check now."""
        return progress >= self.best.due

    def check(self, progress: float, weights: Mapping[str, Tensor]) -> float:
        """Measure, and keep a copy of the model's `weights` if they are better than all before."""
        loss = self.loss().item()
        if loss < self.best.loss:
            self.best.loss, self.best.at = loss, progress
            self.weights = {name: value.detach().clone() for name, value in weights.items()}
        self.best.checked = progress
        self.best.due = (math.floor(progress * CHECKS + 1e-9) + 1) / CHECKS
        return loss

    @property
    def enough(self) -> bool:
        """Whether there was no improvement for too long."""
        return self.best.checked - max(self.best.at, self.since) > self.patience


class Every:
    """Says now and then that some seconds have passed."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, time.monotonic()

    def due(self) -> bool:
        """Whether they have since this was last so."""
        now = time.monotonic()
        if now - self._last <= self._seconds:
            return False
        self._last = now
        return True


class Trainer:
    """Runs phases, keeps the averaged weights, saves and resumes."""

    def __init__(self, folder: Path, model: WorldModel, resume: bool) -> None:
        """Prepare to train in a run folder, from a saved state when there is one and `resume` asks for it."""
        self.model = model
        replicate_(model)
        self.average = {name: value.detach().clone() for name, value in model.named_parameters()}
        self.state_path = folder / STATE_FILE
        self.log = ScalarLog(folder / "logs") if is_first() else None
        self.precision = by_first(lambda: faster_precision(model.device))
        self.saved: dict[str, Any] = {}
        self.spent: dict[str, float] = {}
        """What each finished phase took of the budget, in seconds or in steps; the next ones share what it left."""
        self.optimiser_state: dict[str, Tensor] = {}
        self.best_weights: dict[str, Tensor] = {}
        self.validation: dict[str, dict[str, float]] = {}
        """Of each finished phase the best loss on validation episodes, and the progress there and at the end."""
        if resume:
            self.restore()

    def run(
        self,
        phase: Phase,
        seconds: float | None,
        steps: int | None,
        sample: Callable[[int], None],
        early_stop: EarlyStop | None = None,
    ) -> None:
        """Run one phase to the end of its budget, from wherever a saved state left it.

        Args:
            phase: What to learn.
            seconds: Budget in [s], or None.
            steps: Budget in optimiser steps where `seconds` is None.
            sample: Called now and then with the step, in the first process; the model has the averaged weights
                meanwhile.
            early_stop: Chooses the moment whose averaged weights are kept; None keeps those of the end.
        """
        replicate_(self.model)
        parameters = phase.parameters()
        tensors = [p for _, p in parameters]
        optimiser = torch.optim.AdamW(tensors, lr=phase.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        clock = PhaseClock(seconds, steps)
        if self.saved.get("phase") == phase.name:
            clock.elapsed, clock.step = self.saved["elapsed"], self.saved["step"]
            load_optimiser(optimiser, parameters, self.optimiser_state)
            if early_stop is not None and "early_stop" in self.saved:
                early_stop.best, early_stop.weights = Best(**self.saved["early_stop"]), self.best_weights
        self.fit(phase, clock, optimiser, sample, early_stop)
        if early_stop is not None:
            self.settle(early_stop, phase, clock)
        with torch.no_grad():  # in the precision of a checkpoint: what learns from these weights sees the shipped ones
            for name, parameter in parameters:
                self.average[name].copy_(self.average[name].half())
                parameter.copy_(self.average[name])
        replicate_(self.model)  # machines of different kinds may round differently
        self.spent[phase.name] = clock.elapsed if steps is None else clock.step
        if is_first():
            self.save(phase, clock, optimiser)
            sample(clock.step)

    def fit(
        self,
        phase: Phase,
        clock: PhaseClock,
        optimiser: torch.optim.Optimizer,
        sample: Callable[[int], None],
        early_stop: EarlyStop | None,
    ) -> None:
        """Take steps until the budget is used up or `early_stop` has had enough."""
        parameters = phase.parameters()
        saving, sampling, reporting = Every(SAVE_EVERY), Every(SAMPLE_EVERY), Every(REPORT_EVERY)
        with progress(phase.name) if is_first() else nullcontext() as show:
            while clock.progress < 1:
                if early_stop is not None and early_stop.due(clock.progress):
                    self.check(early_stop, phase, clock)
                    if early_stop.enough:
                        break
                parts = self.step(phase, clock, optimiser)
                self.update_average(parameters, clock.step)
                clock.tick()
                if show is None:
                    continue
                if reporting.due() or clock.progress >= 1:
                    values = {name: value.item() for name, value in parts.items()}
                    text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
                    show(clock.progress, f"{clock.elapsed:.0f} s  step {clock.step}  {text}")
                    self.write_down(phase.name, values, clock.step)
                if sampling.due():
                    with self.averaged():
                        sample(clock.step)
                if saving.due():
                    self.save(phase, clock, optimiser, early_stop)

    def step(self, phase: Phase, clock: PhaseClock, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
        """One step of the optimiser; returns the parts of the loss.

        Raises:
            GwmError: The loss or its gradient is not finite.
        """
        for group in optimiser.param_groups:
            group["lr"] = phase.rate * schedule(clock.progress)
        with self.autocast():
            loss, parts = phase.loss(clock.step, clock.progress)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        learned = [p for group in optimiser.param_groups for p in group["params"]]
        gradients = [p.grad for p in learned if p.grad is not None]
        average_([*gradients, loss.detach(), *parts.values()])
        norm = nn.utils.clip_grad_norm_(learned, 1.0)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise GwmError(
                f"The {phase.name} broke down at step {clock.step}: loss {loss.item()}, gradient norm "
                f"{norm.item()} ({', '.join(f'{k} {v.item():.3g}' for k, v in parts.items())}). Look for bad "
                "data with `gwm inspect`, or go on from the last saved state with --resume."
            )
        optimiser.step()
        return parts

    def check(self, early_stop: EarlyStop, phase: Phase, clock: PhaseClock) -> None:
        """Measure the averaged weights on validation episodes."""
        names = [name for name, _ in phase.parameters()]
        with self.averaged(), self.autocast():
            weights = dict(self.model.named_parameters())
            loss = early_stop.check(clock.progress, {name: weights[name] for name in names})
        self.write_down(phase.name, {"held_out": loss}, clock.step)

    def write_down(self, phase: str, values: dict[str, float], step: int) -> None:
        """Add values to the curves, which the first process keeps."""
        if self.log is not None:
            self.log.scalars(phase, values, step)

    def settle(self, early_stop: EarlyStop, phase: Phase, clock: PhaseClock) -> None:
        """End a phase with the weights of its best moment."""
        if not early_stop.enough:
            self.check(early_stop, phase, clock)
        self.average |= early_stop.weights
        best = early_stop.best
        self.validation[phase.name] = {"loss": best.loss, "best_at": best.at, "stopped_at": best.checked}
        if early_stop.enough and is_first():
            print(
                f"{phase.name}: stopped at {best.checked:.0%} of its budget, with the weights of {best.at:.0%}, which "
                "know validation episodes best",
                flush=True,
            )

    @torch.no_grad()
    def update_average(self, parameters: list[tuple[str, nn.Parameter]], step: int) -> None:
        """Exponential moving average of the weights, faster at the beginning."""
        decay = min(0.999, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            [self.average[name] for name, _ in parameters], [p.detach() for _, p in parameters], 1 - decay
        )

    def autocast(self) -> torch.autocast:
        """Context in which matrices are multiplied in the precision that is faster here."""
        return torch.autocast(self.model.device.type, self.precision, enabled=self.precision != torch.float32)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the model has the averaged weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's weights for the averaged ones, or back."""
        for name, parameter in self.model.named_parameters():
            kept = parameter.detach().clone()
            parameter.copy_(self.average[name])
            self.average[name] = kept

    def save(
        self, phase: Phase, clock: PhaseClock, optimiser: torch.optim.Optimizer, early_stop: EarlyStop | None = None
    ) -> None:
        """Replace the state file, so that it is whole at every moment."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for name, parameter in phase.parameters():
            for key, value in optimiser.state[parameter].items():
                tensors[f"optimiser.{key}.{name}"] = torch.as_tensor(value)
        meta = {
            "phase": phase.name,
            "step": clock.step,
            "elapsed": clock.elapsed,
            "finished": list(self.spent),
            "spent": list(self.spent.values()),
            "precision": str(self.precision).removeprefix("torch."),
            "held_out": self.validation,
        }
        if early_stop is not None:
            tensors |= {f"best.{name}": value for name, value in early_stop.weights.items()}
            meta["early_stop"] = asdict(early_stop.best)
        stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with replacing(self.state_path) as temporary:
            save_file(stored, temporary, {"progress": json.dumps(meta)})

    def restore(self) -> None:
        """Take up a saved state, if there is one."""
        if not self.state_path.exists():
            return
        with safe_open(self.state_path, framework="pt") as file:
            self.saved = json.loads(file.metadata()["progress"])
        self.precision = getattr(torch, self.saved["precision"])  # not measured anew: a busy machine may say otherwise
        tensors = load_file(self.state_path, device=str(self.model.device))
        self.model.load_state_dict(strip(tensors, "model."))
        self.average = strip(tensors, "average.")
        self.best_weights = strip(tensors, "best.")
        self.validation = self.saved.get("held_out", {})
        finished = self.saved["finished"]
        self.spent = dict(zip(finished, self.saved.get("spent", [0.0] * len(finished)), strict=True))
        self.optimiser_state = strip(tensors, "optimiser.")


def strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def load_optimiser(
    optimiser: torch.optim.Optimizer, parameters: list[tuple[str, nn.Parameter]], saved: dict[str, Tensor]
) -> None:
    """Give a fresh optimiser its saved state back, all of it where the weights are: a fused one counts there."""
    for name, parameter in parameters:
        state = {key.split(".", 1)[0]: value for key, value in saved.items() if key.split(".", 1)[1] == name}
        if state:
            optimiser.state[parameter] = {key: value.to(parameter.device) for key, value in state.items()}


def schedule(progress: float) -> float:
    """Learning rate as a part of its peak: short warm-up, then a cosine down to a twentieth."""
    return min(1.0, progress / 0.02 + 0.01) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def faster_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where this machine multiplies matrices faster in it, else float32: measured, since CPUs differ."""
    if device.type == "cuda":
        return torch.bfloat16

    def seconds(dtype: torch.dtype) -> float:
        a = torch.ones(512, 512, dtype=dtype)
        trials = []
        for _ in range(5):
            start = time.perf_counter()
            a @ a
            trials.append(time.perf_counter() - start)
        return min(trials)

    return torch.bfloat16 if seconds(torch.bfloat16) < 0.8 * seconds(torch.float32) else torch.float32


class ScalarLog:
    """TensorBoard scalars and pictures, where TensorBoard is installed."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            warnings.warn(f"no TensorBoard, no curves: {install_command('tensorboard')}", stacklevel=2)
            self.writer = None
        else:
            self.writer = SummaryWriter(str(folder))

    def scalars(self, phase: str, values: dict[str, float], step: int) -> None:
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{phase}/{name}", value, step)
