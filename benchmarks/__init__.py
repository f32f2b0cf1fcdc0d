"""Measured claims; each benchmark is run by python -m benchmarks.NAME."""
