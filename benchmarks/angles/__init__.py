"""Rotations by any angle: a matrix fitted at steps of 15 degrees, asked between."""
