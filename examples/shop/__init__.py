"""The shop is a project of its own: this directory is its source root, as App Engine and its developers have it.

Seen from the repository, as `examples.shop.main` and `examples.shop.receivers`, its modules find each other by that.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))
