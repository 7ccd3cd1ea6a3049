"""Testing mail servers, others' and one's own, as a sender meets them. No message is ever sent."""
