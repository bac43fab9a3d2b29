"""Ways to call that stand on single commands: pipelines, barriers, lists, streams, and calls that never wait."""
