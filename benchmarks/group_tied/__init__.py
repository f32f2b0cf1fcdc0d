"""What a dictionary closed under the group gains: python -m benchmarks.symmetry_tied."""
