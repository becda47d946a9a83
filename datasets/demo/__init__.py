"""Draws the demo set: cars with known damage, outlined exactly as they are drawn."""
