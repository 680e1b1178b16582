<<<<<<< HEAD
"""What a trained model is worth, in figures; without Lightning."""
=======
"""Measuring a model: figures of arrays and tensors, each with its definition, its N and its standard error."""
>>>>>>> evalfig
