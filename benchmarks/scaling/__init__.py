"""The parts of `docs/draw_scale.py`: many routers, one vendor's limit, and a clock that costs no time."""
