"""``python -m moe_lib``."""

import sys

from moe_lib.cli import main

sys.exit(main())
