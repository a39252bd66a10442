// Windows in one launch: what CuPy would do in many, each of which reads and writes all memory.

struct __align__(sizeof(T) * PACK) Pack { T of[PACK]; };
struct __align__(sizeof(Int) * PACK) Places { Int of[PACK]; };

__device__ void add(Sum* sums, const Pack& pack) {
  for (int v = 0; v < PACK; ++v) sums[v] += (Sum)pack.of[v];
}

__device__ void add_product(Sum* sums, const Pack& pack, const Pack& factors) {
  for (int v = 0; v < PACK; ++v) sums[v] += (Sum)pack.of[v] * (Sum)factors.of[v];
}

__device__ void divide(Sum* sums, Sum by) {
  for (int v = 0; v < PACK; ++v) sums[v] /= by;
}

__device__ void store(Pack* to, const Sum* sums) {
  Pack pack;
  for (int v = 0; v < PACK; ++v) pack.of[v] = (T)sums[v];
  *to = pack;
}

// y[n, o, c] = what is added for each tap on a cell: told the place in x, the tap and the pack.
// Sums are finished before they are rounded.
template <typename Add, typename Finish>
__device__ void sum_over_taps(Pack* y, const Walk& walk, Int packs, Int count, Add add_part,
                              Finish finish) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place window = window_of(number, packs, walk);
  const Int first = window.image * cells_of(walk);
  Sum sums[PACK] = {};
  for_each_tap(walk, window, [&](Int cell, Int tap) {
    add_part(sums, (first + cell) * packs + window.pack, tap, window.pack);
  });
  finish(sums, number / packs);
  store(y + number, sums);
}

template <typename Add>
__device__ void sum_over_taps(Pack* y, const Walk& walk, Int packs, Int count, Add add_part) {
  sum_over_taps(y, walk, packs, count, add_part, [](Sum*, Int) {});
}

// x[n, cell, c] = what is added for each window on the cell: told the window, the tap and the cell.
template <typename Add>
__device__ void sum_over_windows(Pack* x, const Walk& walk, Int packs, Int count, Add add_part) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place cell = cell_of(number, packs, walk);
  const Int first = cell.image * windows_of(walk);
  Sum sums[PACK] = {};
  for_each_window(walk, cell, [&](Int window, Int tap) {
    add_part(sums, first + window, tap, cell);
  });
  store(x + number, sums);
}

// u[n, o, g, t, c] = x[n, cell, g, c], the channels of a group together. A thread keeps its tap and
// its channels and takes window after window.
extern "C" __global__ void unfold(Pack* u, const Pack* __restrict__ x, Walk walk, Int packs,
                                  Int windows, Int groups) {
  const Int taps = taps_of(walk), length = taps * packs, each = packs / groups;
  const Int column = (Int)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= length) return;
  const Int row_of_taps = column / each, group = row_of_taps / taps;
  const Int tap = row_of_taps - group * taps, pack = column - (row_of_taps - group) * each;
  const Int step = (Int)gridDim.y * blockDim.y;
  for (Int row = (Int)blockIdx.y * blockDim.y + threadIdx.y; row < windows; row += step) {
    const Place window = window_of(row, 1, walk);
    const Int cell = cell_under(walk, window, tap), first = window.image * cells_of(walk);
    u[row * length + column] = cell < 0 ? Pack{} : x[(first + cell) * packs + pack];
  }
}

// x[n, cell, g, c] = sum of u[n, o, g, t, c] over all taps t of windows o on the cell.
extern "C" __global__ void fold(Pack* x, const Pack* __restrict__ u, Walk walk, Int packs,
                                Int count, Int groups) {
  const Int taps = taps_of(walk), each = packs / groups;
  sum_over_windows(x, walk, packs, count, [&](Sum* sums, Int window, Int tap, const Place& cell) {
    const Int group = cell.pack / each;
    add(sums, u[((window * groups + group) * taps + tap - group) * each + cell.pack]);
  });
}

// y[n, o, c] = sum of x[n, cell, c] w[t, c].
extern "C" __global__ void products(Pack* y, const Pack* __restrict__ x, const Pack* __restrict__ w,
                                    Walk walk, Int packs, Int count) {
  sum_over_taps(y, walk, packs, count, [&](Sum* sums, Int at, Int tap, Int pack) {
    add_product(sums, x[at], w[tap * packs + pack]);
  });
}

// dx[n, cell, c] = sum of dy[n, o, c] w[t, c], the adjoint in x.
extern "C" __global__ void products_data(Pack* dx, const Pack* __restrict__ dy,
                                         const Pack* __restrict__ w, Walk walk, Int packs,
                                         Int count) {
  sum_over_windows(dx, walk, packs, count, [&](Sum* sums, Int window, Int tap, const Place& cell) {
    add_product(sums, dy[window * packs + cell.pack], w[tap * packs + cell.pack]);
  });
}

// The rows that one of so many shares of a sum adds up, about as many each.
struct Share { Int start, stop; };

__device__ Share share_of(Int number, Int shares, Int rows) {
  const Int length = (rows + shares - 1) / shares, start = number * length;
  return {start, start + length < rows ? start + length : rows};
}

// dw[share, t, c] = sum of x[n, cell, c] dy[n, o, c] over the windows of a share, the adjoint in w.
extern "C" __global__ void products_weight(Sum* dw, const Pack* __restrict__ x,
                                           const Pack* __restrict__ dy, Walk walk, Int packs,
                                           Int windows, Int shares) {
  const Int number = thread_number(), taps = taps_of(walk);
  if (number >= shares * taps * packs) return;
  const Int rest = number / packs, pack = number - rest * packs;
  const Int tap = rest % taps;
  const Share share = share_of(rest / taps, shares, windows);
  Sum sums[PACK] = {};
  for (Int row = share.start; row < share.stop; ++row) {
    const Place window = window_of(row, 1, walk);
    const Int cell = cell_under(walk, window, tap);
    if (cell < 0) continue;
    const Int first = window.image * cells_of(walk);
    add_product(sums, x[(first + cell) * packs + pack], dy[row * packs + pack]);
  }
  for (int v = 0; v < PACK; ++v) dw[number * PACK + v] = sums[v];
}

// total[share, c] = sum of x[n, cell, c] over the cells of a share.
extern "C" __global__ void totals(Sum* total, const Pack* __restrict__ x, Walk, Int packs,
                                  Int cells, Int shares) {
  const Int number = thread_number(), pack = number % packs;
  if (number >= shares * packs) return;
  const Share share = share_of(number / packs, shares, cells);
  Sum sums[PACK] = {};
  for (Int row = share.start; row < share.stop; ++row) add(sums, x[row * packs + pack]);
  for (int v = 0; v < PACK; ++v) total[number * PACK + v] = sums[v];
}

// y[n, o, c] = sum of x[n, cell, c].
extern "C" __global__ void sums(Pack* y, const Pack* __restrict__ x, Walk walk, Int packs,
                                Int count) {
  sum_over_taps(y, walk, packs, count, [&](Sum* sums, Int at, Int, Int) { add(sums, x[at]); });
}

// dx[n, cell, c] = sum of dy[n, o, c] over all windows o with the cell, the adjoint.
extern "C" __global__ void sums_adjoint(Pack* dx, const Pack* __restrict__ dy, Walk walk, Int packs,
                                        Int count) {
  sum_over_windows(dx, walk, packs, count, [&](Sum* sums, Int window, Int, const Place& cell) {
    add(sums, dy[window * packs + cell.pack]);
  });
}

// The cells of each window that count for an average: `common` of all, or where that is zero those
// from `low` to `high` along each axis.
struct Counts { long long common, low[3], high[3]; };

__device__ Int count_along(const Axis& axis, Int window, Int low, Int high) {
  Int count = 0, cell = window * (Int)axis.stride + (Int)axis.start;
  for (Int k = 0; k < (Int)axis.taps; ++k, cell += (Int)axis.dilation) {
    count += cell >= low && cell < high;
  }
  return count;
}

__device__ Sum count_of(const Counts& counts, const Walk& walk, Int window) {
  if (counts.common) return counts.common;
  const Place place = window_of(window, 1, walk);
  Int count = 1;
  for (int i = 0; i < 3; ++i) {
    count *= count_along(walk.axes[i], place.at[i], counts.low[i], counts.high[i]);
  }
  return count;
}

// y[n, o, c] = sum of x[n, cell, c], divided by the count of the window.
extern "C" __global__ void averages(Pack* y, const Pack* __restrict__ x, Walk walk, Counts counts,
                                    Int packs, Int count) {
  sum_over_taps(
      y, walk, packs, count, [&](Sum* sums, Int at, Int, Int) { add(sums, x[at]); },
      [&](Sum* sums, Int window) { divide(sums, count_of(counts, walk, window)); });
}

// dx[n, cell, c] = sum of dy[n, o, c] over all windows o with the cell, each divided by its count.
extern "C" __global__ void averages_adjoint(Pack* dx, const Pack* __restrict__ dy, Walk walk,
                                            Counts counts, Int packs, Int count) {
  sum_over_windows(dx, walk, packs, count, [&](Sum* sums, Int window, Int, const Place& cell) {
    Sum part[PACK] = {};
    add(part, dy[window * packs + cell.pack]);
    divide(part, count_of(counts, walk, window));
    for (int v = 0; v < PACK; ++v) sums[v] += part[v];
  });
}

// Whether a value takes the place of the best before it: NaN does, and nothing takes that of NaN.
__device__ bool beats(T value, T best) { return best == best && (value > best || value != value); }

// y[n, o, c] = the maximum of x[n, cell, c]; every window sees a cell.
extern "C" __global__ void maxima(Pack* y, const Pack* __restrict__ x, Walk walk, Int packs,
                                  Int count) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place window = window_of(number, packs, walk);
  const Int first = window.image * cells_of(walk);
  Pack best;
  bool has_one = false;
  for_each_tap(walk, window, [&](Int cell, Int) {
    const Pack part = x[(first + cell) * packs + window.pack];
    for (int v = 0; v < PACK; ++v) {
      if (!has_one || beats(part.of[v], best.of[v])) best.of[v] = part.of[v];
    }
    has_one = true;
  });
  y[number] = best;
}

// The number in its plane of the cell that has the first maximum of each window.
extern "C" __global__ void winners(Places* places, const Pack* __restrict__ x, Walk walk, Int packs,
                                   Int count) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place window = window_of(number, packs, walk);
  const Int first = window.image * cells_of(walk);
  Pack best;
  Places winner;
  bool has_one = false;
  for_each_tap(walk, window, [&](Int cell, Int) {
    const Pack part = x[(first + cell) * packs + window.pack];
    for (int v = 0; v < PACK; ++v) {
      if (has_one && !beats(part.of[v], best.of[v])) continue;
      best.of[v] = part.of[v];
      winner.of[v] = cell;
    }
    has_one = true;
  });
  places[number] = winner;
}

// dx[n, cell, c] = sum of dy[n, o, c] over the windows that the cell has won.
extern "C" __global__ void winners_gradient(Pack* dx, const Pack* __restrict__ dy,
                                            const Places* __restrict__ places, Walk walk, Int packs,
                                            Int count) {
  sum_over_windows(dx, walk, packs, count, [&](Sum* sums, Int window, Int, const Place& cell) {
    const Int own = number_in_plane(walk, cell), at = window * packs + cell.pack;
    const Places winner = places[at];
    Pack part = dy[at];
    for (int v = 0; v < PACK; ++v) part.of[v] = winner.of[v] == own ? part.of[v] : (T)0;
    add(sums, part);
  });
}

// The same over the windows of which the cell equals the maximum `best`.
extern "C" __global__ void ties_gradient(Pack* dx, const Pack* __restrict__ dy,
                                         const Pack* __restrict__ x, const Pack* __restrict__ best,
                                         Walk walk, Int packs, Int count) {
  sum_over_windows(dx, walk, packs, count, [&](Sum* sums, Int window, Int, const Place& cell) {
    const Int first = cell.image * cells_of(walk), at = window * packs + cell.pack;
    const Pack own = x[(first + number_in_plane(walk, cell)) * packs + cell.pack];
    const Pack highest = best[at];
    Pack part = dy[at];
    for (int v = 0; v < PACK; ++v) {
      const bool is_one = own.of[v] == highest.of[v] || own.of[v] != own.of[v];
      part.of[v] = is_one ? part.of[v] : (T)0;
    }
    add(sums, part);
  });
}
