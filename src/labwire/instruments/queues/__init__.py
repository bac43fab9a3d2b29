"""What carries messages between server and worker: Boost queues, POSIX queues, sockets."""
