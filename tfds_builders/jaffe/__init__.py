"""JAFFE."""
