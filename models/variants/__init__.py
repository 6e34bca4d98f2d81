"""Variants of a bundle in lower precision: `medqueue models quantize`.

`half` and `eight_bits` change the weights of a graph, `activations` has ONNX Runtime quantize products, `schemes` are the
choices among these, `making` writes the bundle of a variant, `measuring` says how far its answers deviate and what it costs.
"""
