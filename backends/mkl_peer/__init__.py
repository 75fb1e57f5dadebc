"""Intel's Math Kernel Library as a peer, to compare with."""
