"""How well binary networks know what they don't know: regression, classification, other images."""
