// Tiles taken to points and back, one axis after the other, by small matrices: `winograd`.
//
// Before this text stands, for each axis i, MATRIX_i[TO_i][FROM_i]. All loops are unrolled, so that
// a tile stays in registers and what is multiplied by zero is left out.

// out = matrix applied to the middle axis of three.
#define APPLY(axis, before, from, to, after, in, out)                       \
  _Pragma("unroll") for (int b = 0; b < (before); ++b)                      \
  _Pragma("unroll") for (int t = 0; t < (to); ++t)                          \
  _Pragma("unroll") for (int a = 0; a < (after); ++a) {                     \
    Sum sum = 0;                                                            \
    _Pragma("unroll") for (int f = 0; f < (from); ++f)                      \
      if (MATRIX_##axis[t][f] != 0)                                         \
        sum += MATRIX_##axis[t][f] * (in)[(b * (from) + f) * (after) + a];  \
    (out)[(b * (to) + t) * (after) + a] = sum;                              \
  }

__device__ void apply(const Sum* tile, Sum* result) {
  Sum half[TO_0 * FROM_1 * FROM_2], most[TO_0 * TO_1 * FROM_2];
  APPLY(0, 1, FROM_0, TO_0, FROM_1 * FROM_2, tile, half)
  APPLY(1, TO_0, FROM_1, TO_1, FROM_2, half, most)
  APPLY(2, TO_0 * TO_1, FROM_2, TO_2, 1, most, result)
}

// All places of a tile, and their numbers, known to the compiler.
template <int A, int B, int C, typename Visit>
__device__ void for_each_place(Visit visit) {
#pragma unroll
  for (int i = 0; i < A; ++i)
#pragma unroll
    for (int j = 0; j < B; ++j)
#pragma unroll
      for (int k = 0; k < C; ++k) visit(i, j, k, (i * B + j) * C + k);
}

// points[p, row, c] = the matrices applied to the cells under a window, x[n, cell, c]: a row each.
extern "C" __global__ void to_points(T* points, const T* __restrict__ x, Walk walk, Int channels,
                                     Int windows) {
  const Int number = thread_number();
  if (number >= windows * channels) return;
  const Place window = window_of(number, channels, walk);
  const Int first = window.image * cells_of(walk);
  Sum tile[FROM_0 * FROM_1 * FROM_2], result[TO_0 * TO_1 * TO_2];
  for_each_place<FROM_0, FROM_1, FROM_2>([&](int i, int j, int k, int at) {
    const Int cell = cell_under(walk, window, i, j, k);
    tile[at] = cell < 0 ? (Sum)0 : (Sum)x[(first + cell) * channels + window.pack];
  });
  apply(tile, result);
#pragma unroll
  for (int p = 0; p < TO_0 * TO_1 * TO_2; ++p) {
    points[p * windows * channels + number] = (T)result[p];
  }
}

// x[n, cell, c] = the matrices applied to the points of a row; windows lie side by side.
extern "C" __global__ void from_points(T* x, const T* __restrict__ points, Walk walk, Int channels,
                                       Int windows) {
  const Int number = thread_number();
  if (number >= windows * channels) return;
  const Place window = window_of(number, channels, walk);
  const Int first = window.image * cells_of(walk);
  Sum row[FROM_0 * FROM_1 * FROM_2], tile[TO_0 * TO_1 * TO_2];
#pragma unroll
  for (int p = 0; p < FROM_0 * FROM_1 * FROM_2; ++p) {
    row[p] = (Sum)points[p * windows * channels + number];
  }
  apply(row, tile);
  for_each_place<TO_0, TO_1, TO_2>([&](int i, int j, int k, int at) {
    const Int cell = cell_under(walk, window, i, j, k);
    if (cell >= 0) x[(first + cell) * channels + window.pack] = (T)tile[at];
  });
}
