"""What several formats need: files opened and listed, images on the disk, values and splits understood."""
