"""The definitions of the kernels, in plain torch and NumPy.

Each module here defines one family of operations, always available and on every device.  The
compiled kernels are tested against these definitions: on packed values they give the same bits, of
sums of numbers they differ by rounding.
"""
