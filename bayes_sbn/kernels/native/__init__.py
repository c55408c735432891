"""Calls into the compiled kernel library, one module for each family of operations.

Each function takes the library to call, as :mod:`bayes_sbn.kernels.loader` hands it out, and CPU
tensors; it equals the function of the same name in ``bayes_sbn.kernels.reference``: bit for bit if
its result consists of bits or counts, up to rounding if of sums.
"""
