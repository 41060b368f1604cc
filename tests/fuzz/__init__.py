"""Fuzzing of what ingest reads: `make fuzz`. Everything follows from a seed and a number, so that each input can be made again."""
