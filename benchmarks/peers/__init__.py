"""The package beside other libraries: same rows, batches, epochs and latents."""
