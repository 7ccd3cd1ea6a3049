"""The faces of the administration: they translate words, forms and JSON to commands, and decide nothing."""
