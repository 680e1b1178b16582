"""A trained model for passing on: a folder with its weights, its config, a model card and, if asked for, ONNX files."""
