"""The engine ``torch``: a model run by PyTorch and Transformers."""
