"""Training runs: each module is one linear file whose docstring holds its command."""
