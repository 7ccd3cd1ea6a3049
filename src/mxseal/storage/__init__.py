"""Storage: the ports that the product needs and the embedded default that implements them."""
