"""Make the benchmark's adapter twice: with its bases saved, as PEFT does by default, and without them.

usage: peft_make.py BASE OUT      writes OUT/saved and OUT/redrawn
"""

import sys
from pathlib import Path

from adapters import write_adapter  # interop/python is on PYTHONPATH
from cases import AdapterSpec

if __name__ == "__main__":
    base, out = map(Path, sys.argv[1:3])
    # r = 16 on q, k, v, up, down; λ and γ random, ||ΔW|| = 0.05 ||W||.
    write_adapter(base, AdapterSpec(key=1, projections="copies"), out / "saved")
    write_adapter(base, AdapterSpec(key=1, projections="none"), out / "redrawn")
