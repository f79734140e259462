"""The load client: requests sent by a rule, in a process of its own, and when each was due, sent and answered."""
