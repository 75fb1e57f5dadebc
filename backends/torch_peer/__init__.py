"""PyTorch as a peer, to compare with."""
