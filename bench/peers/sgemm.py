"""Products of f32 matrices by numpy's BLAS (OpenBLAS in its wheels), one measurement a line of standard input.

usage: OPENBLAS_NUM_THREADS=N sgemm.py M N K

Prints `{"ready": name}`, then for each line, which says how many products to compute, their seconds and processor time.
"""

import json
import sys
import time

import numpy as np


def main() -> None:
    rows, cols, terms = map(int, sys.argv[1:4])
    random = np.random.default_rng(0)
    a = random.standard_normal((rows, terms), dtype=np.float32)
    b = random.standard_normal((terms, cols), dtype=np.float32)
    y = np.empty((rows, cols), dtype=np.float32)
    np.matmul(a, b, out=y)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    print(json.dumps({"ready": f"numpy {np.__version__}, {blas['name']} {blas['version']}"}), flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            np.matmul(a, b, out=y)
        times = {"seconds": time.perf_counter() - wall, "coreSeconds": time.process_time() - cpu}
        print(json.dumps(times), flush=True)


main()
