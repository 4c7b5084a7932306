"""Arithmetic on arrays, which knows no mask, no reduction and no loss's name."""
