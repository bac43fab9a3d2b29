"""Put marks on the rig's time axis: an annotation for everybody, confirmed."""

import sys

import labwire

with labwire.connect(port=int(sys.argv[1]) if len(sys.argv) > 1 else 50020) as rig:
    for trial in range(3):
        mark = {"topic": "annotation", "label": f"trial {trial}", "timestamp": rig.now(), "duration": 0.0}
        print(rig.send("annotation", mark))
