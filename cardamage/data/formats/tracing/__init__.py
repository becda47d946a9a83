"""Masks as outlines, outlines joined and taken apart, and which parts of them can be written."""
