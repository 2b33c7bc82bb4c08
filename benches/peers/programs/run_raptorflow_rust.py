"""Raptorflow's side of the crash in Rust: becomes the binary that `run.py setup` built, with the same arguments."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from environments import rust

os.execv(rust(), [str(rust()), "crash", *sys.argv[1:]])
