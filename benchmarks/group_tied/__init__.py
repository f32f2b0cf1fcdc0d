"""What a dictionary closed under the group gains: python -m benchmarks.group_tied."""
