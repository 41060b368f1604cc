"""How good the classifier's verdicts are: `make bench-classifier`."""
