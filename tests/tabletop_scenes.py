"""Episodes of a hand that carries boxes over a table, told as sightings of known places: nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.data.schema import Schema
from gwm_sim.data.tracking.metres.calibration import Take
from gwm_sim.data.tracking.sightings import Sightings

Array = NDArray[Any]
BOX, OPEN = 0.05, 0.08
"""Edge of a box, and opening of the gripper that holds none [m]."""

CLEARANCE, SPEED = 0.16, 0.03
"""Height at which the hand travels [m], and what it moves in a frame [m]."""


def camera_at(azimuth: float, elevation: float, distance: float, fovy: float, size: int = 64) -> Camera:
    """A camera that looks at the middle of the table, from angles [rad] and a distance [m]."""
    backward = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    rotation = np.stack([right, np.cross(backward, right), backward], axis=1)
    return Camera(np.array([0.5, 0.0, 0.04]) + distance * backward, rotation, fovy, size, size)


FRONT = camera_at(0.2, 0.65, 1.2, 24.0)
SIDE = camera_at(1.4, 0.5, 1.0, 30.0)
ALONE = {"front": FRONT}


@dataclass
class Recorder:
    """Moves a hand and boxes, frame by frame."""

    boxes: Array
    """Where they are [m], (K, 3)."""
    grip: Array = field(default_factory=lambda: np.zeros(3))
    """Place of a held box from the hand [m], (3,)."""
    hand: Array = field(default_factory=lambda: np.array([0.5, 0.0, CLEARANCE]))
    opening: float = OPEN
    held: int | None = None
    hands: list[Array] = field(default_factory=list)
    places: list[Array] = field(default_factory=list)

    def wait(self, frames: int = 1) -> None:
        """Stay for some frames."""
        for _ in range(frames):
            self.hands.append(np.r_[self.hand, self.opening])
            self.places.append(self.boxes.copy())

    def go(self, *goal: float) -> None:
        """Move the hand to a place in a line."""
        way = np.array(goal) - self.hand
        steps = max(int(np.ceil(np.linalg.norm(way) / SPEED)), 1)
        for _ in range(steps):
            self.hand = self.hand + way / steps
            if self.held is not None:
                self.boxes[self.held] = self.hand + self.grip
            self.wait()

    def take(self, box: int) -> None:
        """Take a box and lift it."""
        x, y, z = self.boxes[box] - self.grip
        self.go(x, y, CLEARANCE)
        self.go(x, y, z)
        self.opening, self.held = BOX, box
        self.wait(2)
        self.go(x, y, CLEARANCE)

    def put(self, x: float, y: float, z: float) -> None:
        """Put what the hand holds down, with its middle at a place, and leave."""
        goal = np.array([x, y, z]) - self.grip
        self.go(goal[0], goal[1], CLEARANCE)
        self.go(*goal)
        self.opening, self.held = OPEN, None
        self.wait(2)
        self.go(goal[0], goal[1], CLEARANCE)
        self.go(0.35, -0.18, CLEARANCE)
        self.wait(4)


@dataclass(frozen=True)
class Episode:
    """One episode: what is known of it, and the truth."""

    take: Take
    places: Array
    """(T, K, 3) [m]."""


def sighted(camera: Camera, places: Array, rng: np.random.Generator, noise: float = 0.15) -> Sightings:
    """Tell where a camera sees boxes at (T, K, 3), all in full sight, with noise [px]."""
    size = BOX / camera.metres_per_pixel(places)
    shape = size.shape
    return Sightings(
        centre=camera.project(places) + noise * rng.normal(size=(*shape, 2)),
        size=np.stack([size, size], axis=-1),
        visible=np.ones(shape),
        confidence=np.ones(shape),
        area=size**2,
    )


def told(recorder: Recorder, rng: np.random.Generator, cameras: Mapping[str, Camera]) -> Episode:
    """End an episode and tell it as cameras see it."""
    places = np.stack(recorder.places)
    seen = {name: sighted(camera, places, rng) for name, camera in cameras.items()}
    return Episode(Take(seen, np.stack(recorder.hands).astype(np.float32)), places)


def spot(rng: np.random.Generator, *others: Array) -> Array:
    """Find a free place on the table [m], (3,)."""
    while True:
        place = np.array([rng.uniform(0.4, 0.6), rng.uniform(-0.12, 0.12), BOX / 2])
        if all(np.linalg.norm(place - other) > 0.09 for other in others):
            return place


def episodes(
    count: int,
    seed: int = 0,
    grip: tuple[float, float, float] = (0, 0, 0),
    cameras: Mapping[str, Camera] = ALONE,
) -> list[Episode]:
    """Episodes in which box 0 is carried about, put on box 1, taken from there again and put down elsewhere."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        one = spot(rng)
        recorder = Recorder(np.stack([one, spot(rng, one)]), np.array(grip) + [*rng.normal(0, 0.002, 2), 0])
        recorder.wait(4)
        for _ in range(2):
            recorder.take(0)
            recorder.go(*(spot(rng) + [0, 0, rng.uniform(0.1, 0.25)]))
            recorder.put(*(recorder.boxes[1] + [0.005, 0, BOX]))
            recorder.take(0)
            recorder.put(*spot(rng, recorder.boxes[1]))
        found.append(told(recorder, rng, cameras))
    return found


def schema(
    calibrated: bool = True,
    effector: bool = True,
    gripper: bool = True,
    cameras: Mapping[str, Camera] = ALONE,
) -> Schema:
    """What the columns of these episodes mean."""
    names = ("x", "y", "z", "opening")
    unknown = {name: Camera(np.zeros(3), np.eye(3), 60.0, one.height, one.width) for name, one in cameras.items()}
    return Schema(
        env_id="boxes",
        rate=10.0,
        telemetry_names=names,
        telemetry_units=("m",) * 4,
        telemetry_low=(-1.0, -1.0, -1.0, 0.0),
        telemetry_high=(1.0, 1.0, 1.0, 0.09),
        action_names=("dx",),
        action_low=(-1.0,),
        action_high=(1.0,),
        cameras=dict(cameras) if calibrated else unknown,
        effector=(0, 1, 2) if effector else (),
        gripper=(3,) if gripper else (),
        settings={} if calibrated else {"calibrated": False},
    )


def takes(recorded: list[Episode]) -> list[Take]:
    """What is known of episodes."""
    return [episode.take for episode in recorded]
