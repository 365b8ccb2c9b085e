"""`python -m node --config node.toml`."""

import sys

from node.daemon import main

sys.exit(main())
