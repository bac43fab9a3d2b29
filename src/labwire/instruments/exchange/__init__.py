"""Commands and answers over one pair of queues, on the server's side: from a message to whoever waits for its reply."""
