"""What an inference leaves: the result, its measures, spans and trace."""
