"""The pictures of a dataset: where they are, how large, and how they are put beside what is written."""
