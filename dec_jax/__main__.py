"""`python -m dec_jax`: the `dec-jax` command."""

import sys

from dec_jax.cli.main import main

sys.exit(main())
