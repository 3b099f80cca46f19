"""How time and memory grow with the images N, the components K and the codes' size: exponents."""

import numpy as np

from .tasks import (
    decode,
    epoch,
    measure,
    neighbours,
    posterior,
    shared_step_of_components,
    step_of_codes,
    step_of_components,
)

DECADE = (1, 2, 5, 10)
FLAT = 2**25  # bytes: less than this says nothing of growth

GROWTH = {  # task: (what grows, its least size)
    posterior: ("N", 10_000),
    epoch: ("N", 5_000),
    neighbours: ("N", 5_000),
    decode: ("N", 200_000),
    step_of_components: ("K", 20),
    shared_step_of_components: ("K", 100),
    step_of_codes: ("z", 20),
}


def exponent(sizes, values) -> float:
    """Slope of log(value) against log(size), by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def rows():
    found = []
    for task, (variable, least) in GROWTH.items():
        points = [measure(task, least * factor) for factor in DECADE]
        sizes = [point["size"] for point in points]
        about = {"task": task.__name__, "variable": variable, "points": points}
        what = task.__doc__.rstrip(".").replace(" n ", " N ")
        for measured in ("seconds", "bytes"):
            values = [point[measured] for point in points]
            flat = measured == "bytes" and max(values) < FLAT
            found.append(
                {
                    "what": f"{what}: {'time' if measured == 'seconds' else 'memory'}",
                    "against": f"{variable} from {sizes[0]:,} to {sizes[-1]:,}",
                    "value": 0.0 if flat else exponent(sizes, values),
                    "unit": "exponent",
                    "target": None,
                    "measured": measured,
                    **about,
                }
            )
    return found
