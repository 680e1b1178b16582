"""Measuring a model: figures of arrays and tensors, each with its definition, its N and its standard error."""
