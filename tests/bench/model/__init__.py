"""The measurement of the bundled model through the real engine: `make bench-model` (or `python -m tests.bench.model --help`)."""
