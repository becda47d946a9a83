"""What readers and writers of several formats need: opening files, finding and placing pictures, outlines."""
