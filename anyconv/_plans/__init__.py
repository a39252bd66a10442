"""Which algorithm runs, in which blocks, and why; sizes and traits alone, never values.

`_planner` makes a `_plan`, whose blocks are as large as `_block_sizes` finds that they may be.
"""
