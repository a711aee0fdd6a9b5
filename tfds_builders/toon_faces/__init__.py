"""Cartoon faces drawn by code: the data set that needs no download."""
