"""A network's columns, as every backend of this project may use them: merged where they are the same, and in which order."""
