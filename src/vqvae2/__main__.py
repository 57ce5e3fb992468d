"""`python -m vqvae2` is the command `vqvae2`."""

import sys

from vqvae2.cli.main import main

sys.exit(main())
