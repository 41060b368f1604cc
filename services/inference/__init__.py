"""Enriches documents by the LLM, keeps the live adapter behind an alias, and is the only door to the engine."""
