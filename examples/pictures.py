"""Save one picture of the camera named world."""

import sys
from pathlib import Path

import labwire

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 50020

with labwire.connect(port=PORT) as rig, rig.subscribe("frame.world") as pictures:
    message = pictures.recv(timeout_s=5)
    path = Path(f"world-{message.payload['index']}.jpg")
    path.write_bytes(message.raw[0])
    print(f"{path}: {message.payload['width']} x {message.payload['height']} at {message.payload['timestamp']:.3f}")
