"""Acting on a robot through a camera: `gwm run`, and the parts that it is made of.

    with Camera(open_source("0")) as camera:
        camera.start()
        report = LiveLoop(camera, robot, planner, schema, size=64, config=LoopConfig(move=True)).run()

`camera` knows what is seen now, `robots` who acts, `planner` what to do next, `safety` when to stop, and `loop` joins
them at a fixed rate. A software stop is not an emergency stop.
"""

from gwm_sim.policies.live.camera import Camera, Freshness, open_source
from gwm_sim.policies.live.loop import LiveLoop, LoopConfig, Report
from gwm_sim.policies.live.model_planner import ModelPlanner
from gwm_sim.policies.live.planner import History, Planner
from gwm_sim.policies.live.robots import NullRobot, Robot, make_robot
from gwm_sim.policies.live.safety import DeadMan, Limits

__all__ = [
    "Camera",
    "DeadMan",
    "Freshness",
    "History",
    "Limits",
    "LiveLoop",
    "LoopConfig",
    "ModelPlanner",
    "NullRobot",
    "Planner",
    "Report",
    "Robot",
    "make_robot",
    "open_source",
]
