"""Reductions over windows, and where their gradients go.

`_by_axis` reduces axis after axis in standard functions, by the steps of `_axis_reductions`;
`_in_loops` does it in compiled loops, which `_axis_loops` tells of the windows. `_winners` finds
the places of maxima, `_unpooling` sends values back to places.
"""
