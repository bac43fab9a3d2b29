"""Record for three seconds and say where the files are."""

import sys
import time

import labwire

with labwire.connect(port=int(sys.argv[1]) if len(sys.argv) > 1 else 50020) as rig:
    print("recording to", rig.record.start("my first session").rec_path)
    time.sleep(3)
    stopped = rig.record.stop()
    print(f"{stopped.duration_s:.1f} s;", ", ".join(f"{name}: {n.written}" for name, n in stopped.counters.items()))
