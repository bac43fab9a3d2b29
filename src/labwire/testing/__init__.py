"""Test kit: for labwire's own tests and for those of your actors and programs.

From the quickest to the most real:

- `ActorBench` runs an actor in the test itself, with a clock that only the test moves: no process, no waiting.
- `SmallRig` is a bus with a Remote in threads of the test, for programs that talk to a rig; it also plays Pupil Core.
- `running_rig` runs a real rig in processes of its own and ends all of them with the test.
"""

from __future__ import annotations

from labwire.testing.actor_bench import ActorBench, Sent
from labwire.testing.fake_clock import FakeClock
from labwire.testing.processes import left_behind, running_process
from labwire.testing.rig import RunningRig, run_labwire, running_rig
from labwire.testing.small_rig import SmallRig
from labwire.testing.waiting import wait_until

__all__ = [
    "ActorBench",
    "FakeClock",
    "RunningRig",
    "Sent",
    "SmallRig",
    "left_behind",
    "run_labwire",
    "running_process",
    "running_rig",
    "wait_until",
]
