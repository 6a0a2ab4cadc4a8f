"""What is learned from: episode files as tables of all frames, pictures in memory or on disk, windows of them."""

from gwm_sim.training.dataset.checks import check_file as check_file
from gwm_sim.training.dataset.loading import load_training_data as load_training_data
from gwm_sim.training.dataset.loading import scene_box as scene_box
from gwm_sim.training.dataset.training_data import TrainingData as TrainingData
from gwm_sim.training.dataset.training_data import WindowSampler as WindowSampler
