"""An actor of your own: rings when a camera fails or a recording cannot start. Named in rig.toml beside it."""

import labwire


class Alarm(labwire.Actor):
    """Rings when something fails."""

    def on_notify(self, notification):
        """Rings when something fails.

        Reacts to notifications:
            ``recording.failed``, ``camera.failed``: Rings.

        Emits notifications:
            ``alarm.rang``: With the reason.
        """
        if notification["subject"] in ("recording.failed", "camera.failed"):
            self.log.warning("ring! %s", notification["reason"])
            self.notify("alarm.rang", reason=notification["reason"])
