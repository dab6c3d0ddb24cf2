"""What produces the model: data, the network of the paper, its losses, the training loop, metrics and evaluation.

Nothing here is needed on the phone. Definitions that ship (the difference matrix, preprocessing, the capture format)
live in `sdk_reference` and are imported from there, so that training and phone cannot drift apart.
"""
