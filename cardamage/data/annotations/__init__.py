"""Annotations of one image or many: what they must be, their geometry, and their way to training targets."""
