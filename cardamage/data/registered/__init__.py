"""Datasets with names: the built-in ones, the car sets, and names that say where to look."""
