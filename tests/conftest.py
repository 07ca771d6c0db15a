"""Settings of the whole suite: nothing opens a window, torch keeps to one thread, and hypothesis has no clock."""

import os

from hypothesis import settings

os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

settings.register_profile("house", deadline=None, max_examples=50, print_blob=True)
settings.load_profile("house")
