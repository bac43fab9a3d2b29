"""What can be asked of a rig: one abstract class per service."""
