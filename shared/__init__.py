"""What the six services have in common: events, topics, the bus, and the plumbing around a process. Imports nothing from services."""
