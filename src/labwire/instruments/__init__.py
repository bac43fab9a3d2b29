"""Instruments: a server that calls drivers in isolated worker processes. Source: instrument-ipc.

For users are `labwire.instruments.server` (`InstrumentServer`) and `labwire.instruments.driver` (`Driver`).
Behind them stand, on the server's side, `calling` (pipelines, barriers, streams) on `exchange` (commands and answers
over one pair of queues) and `supervision` (processes that start and die); on the other side `worker` with its
`drivers`; between the two sides `queues`.
"""
