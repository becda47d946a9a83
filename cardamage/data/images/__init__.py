"""Picture files: what they are, whether they are whole, and their pixels."""
