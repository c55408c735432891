"""The definitions of the kernels, in plain torch and NumPy.

Each module here defines one family of operations, always available and on every device.  The
compiled kernels must give the same bits, and are tested against these definitions.
"""
