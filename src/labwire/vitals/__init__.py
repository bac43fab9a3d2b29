"""Vital signs of a person in front of a camera: pictures and time in, estimates or nothing out.

The front door is `labwire.vitals.monitor.VitalsMonitor`; what it returns stands in `labwire.vitals.metrics`. No socket,
file, thread or clock in here. What is measured and how: ``docs/explanation/vitals.md``. This is no medical device.
"""
