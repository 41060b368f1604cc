"""Helpers of the tests that run real parts: broker, engine, services."""
