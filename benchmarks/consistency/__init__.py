"""How much the consistency loss should count."""
