"""Turns feedback into datasets, trains, judges at a gate, publishes or refuses. The only service that imports torch."""
