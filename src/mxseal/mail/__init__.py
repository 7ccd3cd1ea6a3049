"""Messages as mail: header scan, trace line, delivery status notifications. PURE."""
