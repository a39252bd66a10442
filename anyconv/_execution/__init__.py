"""Plans carried out.

`_conv_kernels` are the maps of a convolution on eager arrays, `_padded` those of one whose padding
is not zeros. `_execute` takes a plan block by block (`_block_maps`), `_held_data` prepares the data
of all blocks first, `_by_jobs` has compiled loops write them. `_images` and `_turns` take images in
turn, for pooling and for windows; `_lazy_batch` leaves blocks of the batch for later. Work is
shared among the threads of `_workers`, jobs among those of `_job_threads`.
"""
