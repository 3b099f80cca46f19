"""Measure, print and keep: ``python -m benchmarks [theory] [step] ...``."""

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

from gmvae_lib.data.storage import write_atomically
from gmvae_lib.vae.runs import environment

MODULES = ("theory", "step", "training", "inference", "studies", "growth", "intake", "afterwards")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="module", help=", ".join(MODULES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks.json"))
    args = parser.parse_args()
    unknown = set(args.modules) - set(MODULES)
    if unknown:
        parser.error(f"module: found {unknown.pop()!r}, expected some of {', '.join(MODULES)}")
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(args.threads)
    kept = json.loads(args.out.read_text()) if args.out.is_file() else []
    for name in args.modules or MODULES:
        with threadpool_limits(args.threads):
            rows = importlib.import_module(f"benchmarks.{name}").rows()
        for row in rows:
            value = "not measured" if row["value"] is None else f"{row['value']:.3g} {row['unit']}"
            print(f"{row['what']}: {value}, against {row['against']}")
        about = {"module": name, "threads": args.threads, "processor": processor()}
        about |= environment()
        kept = [row for row in kept if row["module"] != name] + [about | row for row in rows]
        text = json.dumps(kept, indent=1) + "\n"
        write_atomically(args.out, lambda p, text=text: p.write_text(text))


def processor() -> str:
    """The processor's name as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model n"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
