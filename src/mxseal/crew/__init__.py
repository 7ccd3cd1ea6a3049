"""The processes that move mail, and the line between them and the one that leads them."""
