"""Does it hold on real networks? Networks that others have trained, and our own."""
