"""The device that zprocess starts, by the name of this file; so it imports nothing of ours."""

from __future__ import annotations

from typing import Any


def main() -> None:
    """Do nothing for each command, and say so."""
    import zprocess  # pyright: ignore[reportMissingImports]

    tree: Any = zprocess.ProcessTree.connect_to_parent()
    while True:
        tree.from_parent.get()
        tree.to_parent.put(None)


if __name__ == "__main__":
    main()
