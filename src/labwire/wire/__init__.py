"""Wire formats: bytes in, typed messages out; no sockets, files, threads or clocks."""
