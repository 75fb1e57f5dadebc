"""Owns the results of an inference: result, record, measures, spans and trace."""
