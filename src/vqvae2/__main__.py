"""`python -m vqvae2` is the command `vqvae2`."""

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line of this process, see `vqvae2.cli.main`; returns the exit code."""
    try:
        from vqvae2.cli.main import main as command
    except KeyboardInterrupt:
        sys.stderr.write("\nvqvae2: interrupted\n")
        return 130
    return command()


if __name__ == "__main__":
    sys.exit(main())
