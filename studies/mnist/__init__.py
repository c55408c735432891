"""MNIST by a network of ±1 weights and ±1 activations."""
