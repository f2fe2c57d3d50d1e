"""Write the table of what each dialect can do into `providers.md`, from the tests that prove it.

Run it with ``python docs/draw_features.py`` after a change of tests that are marked ``feature``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.feature_table import PAGE, collected_marks, table_of, with_table

PAGE.write_text(with_table(PAGE.read_text(), table_of(collected_marks())))
