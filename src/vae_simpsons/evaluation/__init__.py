"""What a trained model is worth, in figures; without Lightning."""
