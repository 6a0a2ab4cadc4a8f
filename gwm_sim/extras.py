"""Optional packages and the extras that install them: the one list that messages, `gwm doctor` and formats use."""

from gwm_sim.errors import MissingDependency

EXTRA_OF_PACKAGE = {
    "mujoco": "mujoco",
    "stable_baselines3": "rl",
    "sb3_contrib": "rl",
    "tensorboard": "rl",
    "yaml": "rl",
    "cv2": "camera",
    "scipy": "track",
    "pandas": "data",
    "pyarrow": "data",
    "matplotlib": "viz",
    "pygame": "viz",
    "huggingface_hub": "hub",
    "rapidfuzz": "prompts",
    "fastapi": "serve",
    "python_multipart": "serve",
    "uvicorn": "serve",
    "websockets": "serve",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "ray": "ray",
    "gymnasium_robotics": "fetch",
}
"""Extra by the name under which a package is imported; of several the one that brings least."""


def install_command(package: str) -> str:
    """The command that installs an optional package, by the name under which it is imported."""
    return install_extra(EXTRA_OF_PACKAGE[package])


def install_extra(extra: str) -> str:
    """The command that installs an extra."""
    return f'pip install "gwm-sim[{extra}]"'


def missing(package: str, purpose: str) -> MissingDependency:
    """An error that says what needs an optional package and how to install it."""
    return MissingDependency(f"{purpose} needs {package}, which is not installed. Run: {install_command(package)}")
