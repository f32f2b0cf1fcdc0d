"""What latent orbits gain, and what they cost: python -m benchmarks.orbits."""
