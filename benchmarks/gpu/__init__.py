"""What only a GPU can show, prepared so that an hour's loan of one is enough: `make gpu`, and `make gpu-parts` before it.

With the CPU as the device the same checks run with every `make test`, so that nothing but the GPU itself is new there.
"""
