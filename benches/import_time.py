"""How long `import raptorflow` takes in a new process, beside a bare interpreter; prints medians of 15 runs."""

import statistics
import subprocess
import sys
import time


def median(code: str) -> float:
    """The median wall time of a process that runs `code`, in milliseconds."""
    times = []
    for _ in range(15):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


bare = median("pass")
with_import = median("import raptorflow")
print(f"python alone {bare:.1f} ms, with `import raptorflow` {with_import:.1f} ms, the import {with_import - bare:.1f} ms")
