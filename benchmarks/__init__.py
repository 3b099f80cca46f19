"""Speed: each row a ratio against a stated baseline, both measured in turn on one machine.

``python -m benchmarks`` (or ``make bench``) measures everything and writes results/benchmarks.json;
``python -m benchmarks theory step`` only these. Run it on a machine that does nothing else.
"""
