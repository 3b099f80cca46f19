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


def profile(function, top=5) -> list[list]:
    """The operations that take most of a function's time: [name, share], the largest first."""
    import torch

    function()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as measured:
        function()
    events = measured.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    events = sorted(events, key=lambda event: -event.self_cpu_time_total)[:top]
    return [[event.key, event.self_cpu_time_total / total] for event in events]


def row(
    what: str, against: str, value: float | None, target: float | None = None, unit="x", **more
):
    """One row of results/benchmarks.json.

    value : what was measured in ``unit``: "x" for how many times faster than ``against``, "share"
        for a share of it; None where the machine cannot measure it. target : the least that was
        aimed at. more : the numbers behind it: ``limit``, the most that this machine could give at
        its peak of bf16 products; ``bytes``, the memory that the work took; ``profile``.
    """
    return {"what": what, "against": against, "value": value, "unit": unit, "target": target} | more
