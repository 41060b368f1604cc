"""Sample input of the demo: authored items, hostile cases, corrections, held-out items and questions."""
