"""Several machines under one configuration: levels, inheritance, members, and their engine."""
