"""Analysis servers in use: connections, what they are asked, and what rests after a failure."""
