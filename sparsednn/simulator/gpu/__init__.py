"""Predicts the seconds of a GPU from counts of launches, instructions and bytes, and from a card's figures."""
