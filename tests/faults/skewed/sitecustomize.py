"""Put before everything on PYTHONPATH, this sets a process's clock wrong by CLOCK_SKEW_S seconds."""

import os
import time

_SKEW_S = float(os.environ["CLOCK_SKEW_S"])
_true_time, _true_time_ns = time.time, time.time_ns
time.time = lambda: _true_time() + _SKEW_S
time.time_ns = lambda: _true_time_ns() + int(_SKEW_S * 1e9)
