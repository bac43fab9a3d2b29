"""Ask a multimeter ten times and an oscilloscope once. The demo rig has both; so has examples/rigs/bench.toml."""

import sys

import labwire

with labwire.connect(port=int(sys.argv[1]) if len(sys.argv) > 1 else 50020) as rig:
    dmm, scope = rig.instrument("DMM1"), rig.instrument("SCOPE1")
    readings = [dmm.measure_voltage(range=10.0, samples=10) for _ in range(10)]
    wave = scope.read_waveform(points=100_000)  # a numpy array
    print(
        f"{sum(readings) / len(readings):.6f} V; a wave of {len(wave)} points, {wave.min():.2f} to {wave.max():.2f} V"
    )
