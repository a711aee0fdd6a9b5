"""FERG."""
