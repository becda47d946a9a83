"""Placeholder, written by the room."""
