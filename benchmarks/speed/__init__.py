"""How fast the package is, beside what it is compared with, in one run."""
