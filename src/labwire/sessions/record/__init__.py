"""Recording a session: who takes part, what is taken, and when it ends."""
