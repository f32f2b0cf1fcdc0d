"""The paper's experiments, from images to a report."""
