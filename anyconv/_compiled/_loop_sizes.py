"""Sizes that compiled loops keep to, and that plans count with: no Numba is needed to know them."""

# The rows of taps, and the taps of a row, that a sliding window takes in one pass.
SLIDING_ROWS = SLIDING_TAPS = 3
# The windows that are summed before they are added to a weight's gradient.
SUMMED_WINDOWS = 512
# Packed weights of so many bytes are kept for all windows, larger ones are packed for each portion.
HELD_WEIGHT_BYTES = 2**23
# Points of weights of so many bytes are kept for all tiles.
HELD_POINT_BYTES = 2**22
# The outputs of a row whose sums stay in a core's first cache.
ROW_OUTPUTS = 1024
# The widest panel of output channels, in elements of single precision.
MOST_PANEL = 64
