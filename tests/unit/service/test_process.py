"""What a process does with its memory."""

import subprocess
import sys

SCRIPT = """
from service.process import return_large_memory

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

return_large_memory()
before = resident_mb()
first = b"z" * (16 << 20)
del first
large, small = [], []
for _ in range(200):
    large.append(b"x" * (1 << 20))
    small.append(b"y" * 100_000)
del large
print(resident_mb() - before)
"""


def test_large_pieces_go_back_to_the_system_though_small_ones_between_them_stay() -> None:
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert int(told) < 60  # without the call some 220
