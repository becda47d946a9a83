"""Datasets on their way from one format to another: read, checked, divided, written, and told of."""
