"""Where the bus meets a room: one thin module per actor."""
