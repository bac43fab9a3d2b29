"""Print what the eyes see: pupil data as it comes over the bus."""

import sys

import labwire

with labwire.connect(port=int(sys.argv[1]) if len(sys.argv) > 1 else 50020) as rig, rig.subscribe("pupil.") as pupils:
    for number, (topic, payload, _) in enumerate(pupils):
        print(f"{payload['timestamp']:.3f}  {topic:<11}  {payload['diameter']:.1f} px, {payload['confidence']:.2f}")
        if number == 9:
            break
