"""The old place of `shrink` and `decode_picture`; they are in `gwm_sim.data.images`."""

from gwm_sim.data.images import decode_picture as decode_picture
from gwm_sim.data.images import shrink as shrink
