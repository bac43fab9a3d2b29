"""``python -m labwire``: the same as the command ``labwire``."""

from labwire.cli.main import main

if __name__ == "__main__":
    main()
