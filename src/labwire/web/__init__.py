"""HTTP and the dashboard: see the rig, steer the rig. A client of the rig like any other."""
