"""Benchmarks: `make bench` prints the tables. Figures are for the machine that is named in the first line; read them as ratios."""
