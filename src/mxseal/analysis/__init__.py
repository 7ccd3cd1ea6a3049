"""File analysis as a client speaks it: what is asked, what is answered, and the two protocols. PURE."""
