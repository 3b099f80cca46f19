"""What the benchmarks share: interleaved timing, and one row of the table."""

import statistics
import time


def medians(*functions, repeats: int = 5) -> list[float]:
    """Median seconds of each function, called in turn so that all see the same machine.

    One call of each beforehand is not counted: it loads, compiles and touches memory.
    """
    for function in functions:
        function()
    taken = [[] for _ in functions]
    for _ in range(repeats):
        for function, seconds in zip(functions, taken, strict=True):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in taken]


def row(what: str, against: str, value: float, target: float | None = None, unit="x", **more):
    """One row of results/benchmarks.json.

    value : what was measured in ``unit``: "x" for how many times faster than ``against``, "share"
        for a share of it. target : the least that was aimed at. more : the numbers behind it.
    """
    return {"what": what, "against": against, "value": value, "unit": unit, "target": target} | more
