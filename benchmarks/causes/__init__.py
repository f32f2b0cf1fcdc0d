"""Why results differ from the paper's: checks beside the full run."""
