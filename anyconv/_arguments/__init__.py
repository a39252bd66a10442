"""What callers write, checked before any work is done, and made whole.

`_conv` and `_pool` make a call of it, which knows all sizes; `_common` is what both ask for.
"""
