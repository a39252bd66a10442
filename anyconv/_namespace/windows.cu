// Windows in one launch: what CuPy would do in many, each of which reads and writes all memory.

struct __align__(sizeof(T) * PACK) Pack { T of[PACK]; };
struct __align__(sizeof(Int) * PACK) Places { Int of[PACK]; };

__device__ void store(Pack* to, const Sum* sums) {
  Pack pack;
  for (int v = 0; v < PACK; ++v) pack.of[v] = (T)sums[v];
  *to = pack;
}

// u[n, o, t, c] = x[n, cell, c]. A thread keeps its tap and channels and takes window after window.
extern "C" __global__ void unfold(Pack* u, const Pack* __restrict__ x, Walk walk, Int packs,
                                  Int windows) {
  const Int length = taps_of(walk) * packs;
  const Int column = (Int)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= length) return;
  const Int tap = column / packs, pack = column - tap * packs;
  const Int step = (Int)gridDim.y * blockDim.y;
  for (Int row = (Int)blockIdx.y * blockDim.y + threadIdx.y; row < windows; row += step) {
    const Place window = window_of(row, 1, walk);
    const Int cell = cell_under(walk, window, tap), first = window.image * cells_of(walk);
    u[row * length + column] = cell < 0 ? Pack{} : x[(first + cell) * packs + pack];
  }
}

// x[n, cell, c] = sum of u[n, o, t, c] over all taps t of windows o on the cell.
extern "C" __global__ void fold(Pack* x, const Pack* __restrict__ u, Walk walk, Int packs,
                                Int count) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place cell = cell_of(number, packs, walk);
  const Int taps = taps_of(walk), first = cell.image * windows_of(walk);
  Sum sums[PACK] = {};
  for_each_window(walk, cell, [&](Int window, Int tap) {
    const Pack part = u[((first + window) * taps + tap) * packs + cell.pack];
    for (int v = 0; v < PACK; ++v) sums[v] += (Sum)part.of[v];
  });
  store(x + number, sums);
}

// y[n, o, c] = sum of x[n, cell, c] w[t, c].
extern "C" __global__ void products(Pack* y, const Pack* __restrict__ x, const Pack* __restrict__ w,
                                    Walk walk, Int packs, Int count) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place window = window_of(number, packs, walk);
  const Int first = window.image * cells_of(walk);
  Sum sums[PACK] = {};
  for_each_tap(walk, window, [&](Int cell, Int tap) {
    const Pack part = x[(first + cell) * packs + window.pack];
    const Pack factors = w[tap * packs + window.pack];
    for (int v = 0; v < PACK; ++v) sums[v] += (Sum)part.of[v] * (Sum)factors.of[v];
  });
  store(y + number, sums);
}

// dx[n, cell, c] = sum of dy[n, o, c] w[t, c], the adjoint in x.
extern "C" __global__ void products_data(Pack* dx, const Pack* __restrict__ dy,
                                         const Pack* __restrict__ w, Walk walk, Int packs,
                                         Int count) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place cell = cell_of(number, packs, walk);
  const Int first = cell.image * windows_of(walk);
  Sum sums[PACK] = {};
  for_each_window(walk, cell, [&](Int window, Int tap) {
    const Pack part = dy[(first + window) * packs + cell.pack];
    const Pack factors = w[tap * packs + cell.pack];
    for (int v = 0; v < PACK; ++v) sums[v] += (Sum)part.of[v] * (Sum)factors.of[v];
  });
  store(dx + number, sums);
}

// dw[share, t, c] = sum of x[n, cell, c] dy[n, o, c] over the windows of a share, the adjoint in w.
extern "C" __global__ void products_weight(Sum* dw, const Pack* __restrict__ x,
                                           const Pack* __restrict__ dy, Walk walk, Int packs,
                                           Int windows, Int shares) {
  const Int number = thread_number(), taps = taps_of(walk);
  if (number >= shares * taps * packs) return;
  const Int rest = number / packs, pack = number - rest * packs;
  const Int share = rest / taps, tap = rest - share * taps;
  const Int length = (windows + shares - 1) / shares;
  const Int stop = (share + 1) * length < windows ? (share + 1) * length : windows;
  Sum sums[PACK] = {};
  for (Int row = share * length; row < stop; ++row) {
    const Place window = window_of(row, 1, walk);
    const Int cell = cell_under(walk, window, tap);
    if (cell < 0) continue;
    const Pack part = x[(window.image * cells_of(walk) + cell) * packs + pack];
    const Pack factors = dy[row * packs + pack];
    for (int v = 0; v < PACK; ++v) sums[v] += (Sum)part.of[v] * (Sum)factors.of[v];
  }
  for (int v = 0; v < PACK; ++v) dw[number * PACK + v] = sums[v];
}

// y[n, o, c] = sum of x[n, cell, c].
extern "C" __global__ void sums(Pack* y, const Pack* __restrict__ x, Walk walk, Int packs,
                                Int count) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place window = window_of(number, packs, walk);
  const Int first = window.image * cells_of(walk);
  Sum sums[PACK] = {};
  for_each_tap(walk, window, [&](Int cell, Int) {
    const Pack part = x[(first + cell) * packs + window.pack];
    for (int v = 0; v < PACK; ++v) sums[v] += (Sum)part.of[v];
  });
  store(y + number, sums);
}

// dx[n, cell, c] = sum of dy[n, o, c] over all windows o with the cell, the adjoint.
extern "C" __global__ void sums_adjoint(Pack* dx, const Pack* __restrict__ dy, Walk walk, Int packs,
                                        Int count) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place cell = cell_of(number, packs, walk);
  const Int first = cell.image * windows_of(walk);
  Sum sums[PACK] = {};
  for_each_window(walk, cell, [&](Int window, Int) {
    const Pack part = dy[(first + window) * packs + cell.pack];
    for (int v = 0; v < PACK; ++v) sums[v] += (Sum)part.of[v];
  });
  store(dx + number, sums);
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
  const Int number = thread_number();
  if (number >= count) return;
  const Place cell = cell_of(number, packs, walk);
  const Int first = cell.image * windows_of(walk);
  const Int own = number / packs - cell.image * cells_of(walk);
  Sum sums[PACK] = {};
  for_each_window(walk, cell, [&](Int window, Int) {
    const Int at = (first + window) * packs + cell.pack;
    const Places winner = places[at];
    const Pack part = dy[at];
    for (int v = 0; v < PACK; ++v) sums[v] += winner.of[v] == own ? (Sum)part.of[v] : (Sum)0;
  });
  store(dx + number, sums);
}

// The same over the windows of which the cell equals the maximum `best`.
extern "C" __global__ void ties_gradient(Pack* dx, const Pack* __restrict__ dy,
                                         const Pack* __restrict__ x, const Pack* __restrict__ best,
                                         Walk walk, Int packs, Int count) {
  const Int number = thread_number();
  if (number >= count) return;
  const Place cell = cell_of(number, packs, walk);
  const Int first = cell.image * windows_of(walk);
  const Pack own = x[number];
  Sum sums[PACK] = {};
  for_each_window(walk, cell, [&](Int window, Int) {
    const Int at = (first + window) * packs + cell.pack;
    const Pack highest = best[at], part = dy[at];
    for (int v = 0; v < PACK; ++v) {
      const bool is_one = own.of[v] == highest.of[v] || own.of[v] != own.of[v];
      sums[v] += is_one ? (Sum)part.of[v] : (Sum)0;
    }
  });
  store(dx + number, sums);
}
