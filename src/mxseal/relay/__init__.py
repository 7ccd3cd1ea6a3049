"""The relay: listeners that receive, the queue between, and deliveries to the next hop."""
