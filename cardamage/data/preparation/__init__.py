"""From the names of datasets to the images of a run: read, filtered, their classes brought together."""
