"""Commands in a loop with a progress bar. Run it with: labwire script examples/sweep.py 20."""
# `labwire script` gives rig, instrument, progress and args.
# ruff: noqa: F821
# pyright: reportUndefinedVariable=false

from statistics import fmean, stdev

dmm = instrument("DMM1")
count = int(args[0]) if args else 20
volts = [dmm.measure_voltage(range=10.0, samples=n + 1) for n in progress(range(count), "measuring")]
print(f"{len(volts)} readings: {fmean(volts):.6f} V, standard deviation {stdev(volts) * 1e6:.0f} µV")
