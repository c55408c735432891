"""Ensembles on a CUDA device: kernels of ``csrc/cuda``, compiled when they are first used.

Nothing here has run on a device yet: the kernels' source is compiled for several architectures and
run by a CPU in the tests.  Importing this package needs neither CUDA nor its libraries.
"""
