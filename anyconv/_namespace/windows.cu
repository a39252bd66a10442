// Windows in one launch: what CuPy would do in many, each of which reads and writes all memory.
//
// Arrays are canonical and lie without gaps: cells (n, *cells, channels), outputs (n, *outputs,
// channels), unfolded windows (n, *outputs, *taps, channels). Tap k of window o along an axis is on
// cell `stride * o + dilation * k + start`; a tap on no cell is left out, so padding is not made.
//
// Before this text stand the types: T of the elements, Sum of what is added up, Int of all places;
// and PACK, the neighbouring channels that a thread takes at once.

struct Axis { long long outputs, taps, stride, dilation, start, cells; };
struct Walk { Axis axes[3]; };

struct __align__(sizeof(T) * PACK) Pack { T of[PACK]; };
struct __align__(sizeof(Int) * PACK) Places { Int of[PACK]; };

// A cell or a window: its image, its place along each axis, and its pack of channels.
struct Place { Int image, at[3], pack; };

__device__ Int thread_number() { return (Int)blockIdx.x * blockDim.x + threadIdx.x; }

__device__ Place place_of(Int number, Int packs, Int middle, Int inner, Int outer) {
  Place place;
  Int rest = number / packs;
  place.pack = number - rest * packs;
  Int next = rest / inner;
  place.at[2] = rest - next * inner;
  rest = next / middle;
  place.at[1] = next - rest * middle;
  place.image = rest / outer;
  place.at[0] = rest - place.image * outer;
  return place;
}

__device__ Place window_of(Int number, Int packs, const Walk& walk) {
  const Axis* axes = walk.axes;
  return place_of(number, packs, axes[1].outputs, axes[2].outputs, axes[0].outputs);
}

__device__ Place cell_of(Int number, Int packs, const Walk& walk) {
  const Axis* axes = walk.axes;
  return place_of(number, packs, axes[1].cells, axes[2].cells, axes[0].cells);
}

// All taps of a window that are on a cell: the cell's number in its plane, and the tap's.
template <typename Visit>
__device__ void for_each_tap(const Walk& walk, const Place& window, Visit visit) {
  const Axis &a = walk.axes[0], &b = walk.axes[1], &c = walk.axes[2];
  Int x = window.at[0] * (Int)a.stride + (Int)a.start;
  for (Int i = 0; i < (Int)a.taps; ++i, x += (Int)a.dilation) {
    if (x < 0 || x >= (Int)a.cells) continue;
    Int y = window.at[1] * (Int)b.stride + (Int)b.start;
    for (Int j = 0; j < (Int)b.taps; ++j, y += (Int)b.dilation) {
      if (y < 0 || y >= (Int)b.cells) continue;
      const Int row = (x * (Int)b.cells + y) * (Int)c.cells;
      const Int first = (i * (Int)b.taps + j) * (Int)c.taps;
      Int z = window.at[2] * (Int)c.stride + (Int)c.start;
      for (Int k = 0; k < (Int)c.taps; ++k, z += (Int)c.dilation) {
        if (z >= 0 && z < (Int)c.cells) visit(row + z, first + k);
      }
    }
  }
}

// The window along one axis that has tap k on a cell; negative where there is none.
__device__ Int window_under(const Axis& axis, Int cell, Int k) {
  const Int ahead = cell - (Int)axis.start - k * (Int)axis.dilation;
  const Int window = ahead / (Int)axis.stride;
  return window * (Int)axis.stride == ahead && window < (Int)axis.outputs ? window : -1;
}

// All windows that have a tap on a cell: the window's number in its image, and the tap's.
template <typename Visit>
__device__ void for_each_window(const Walk& walk, const Place& cell, Visit visit) {
  const Axis &a = walk.axes[0], &b = walk.axes[1], &c = walk.axes[2];
  for (Int i = (Int)a.taps - 1; i >= 0; --i) {
    const Int x = window_under(a, cell.at[0], i);
    if (x < 0) continue;
    for (Int j = (Int)b.taps - 1; j >= 0; --j) {
      const Int y = window_under(b, cell.at[1], j);
      if (y < 0) continue;
      const Int row = (x * (Int)b.outputs + y) * (Int)c.outputs;
      const Int first = (i * (Int)b.taps + j) * (Int)c.taps;
      for (Int k = (Int)c.taps - 1; k >= 0; --k) {
        const Int z = window_under(c, cell.at[2], k);
        if (z >= 0) visit(row + z, first + k);
      }
    }
  }
}

__device__ Int cells_of(const Walk& walk) {
  return (Int)(walk.axes[0].cells * walk.axes[1].cells * walk.axes[2].cells);
}

__device__ Int windows_of(const Walk& walk) {
  return (Int)(walk.axes[0].outputs * walk.axes[1].outputs * walk.axes[2].outputs);
}

__device__ Int taps_of(const Walk& walk) {
  return (Int)(walk.axes[0].taps * walk.axes[1].taps * walk.axes[2].taps);
}

__device__ void store(Pack* to, const Sum* sums) {
  Pack pack;
  for (int v = 0; v < PACK; ++v) pack.of[v] = (T)sums[v];
  *to = pack;
}

// u[n, o, t, c] = x[n, cell, c]. A thread keeps its tap and channels and goes from window to window.
extern "C" __global__ void unfold(Pack* u, const Pack* __restrict__ x, Walk walk, Int packs, Int windows) {
  const Axis &a = walk.axes[0], &b = walk.axes[1], &c = walk.axes[2];
  const Int length = taps_of(walk) * packs;
  const Int column = (Int)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= length) return;
  Int tap = column / packs;
  const Int pack = column - tap * packs;
  Int rest = tap / (Int)c.taps;
  const Int k = tap - rest * (Int)c.taps;
  const Int i = rest / (Int)b.taps, j = rest - i * (Int)b.taps;
  const Int step = (Int)gridDim.y * blockDim.y;
  for (Int row = (Int)blockIdx.y * blockDim.y + threadIdx.y; row < windows; row += step) {
    const Place window = window_of(row, 1, walk);
    const Int cx = window.at[0] * (Int)a.stride + (Int)a.start + i * (Int)a.dilation;
    const Int cy = window.at[1] * (Int)b.stride + (Int)b.start + j * (Int)b.dilation;
    const Int cz = window.at[2] * (Int)c.stride + (Int)c.start + k * (Int)c.dilation;
    Pack pack_of_cell = {};
    if (cx >= 0 && cx < (Int)a.cells && cy >= 0 && cy < (Int)b.cells && cz >= 0 &&
        cz < (Int)c.cells) {
      const Int plane = window.image * (Int)a.cells + cx;
      pack_of_cell = x[((plane * (Int)b.cells + cy) * (Int)c.cells + cz) * packs + pack];
    }
    u[row * length + column] = pack_of_cell;
  }
}

// x[n, cell, c] = sum of u[n, o, t, c] over all taps t of windows o on the cell.
extern "C" __global__ void fold(Pack* x, const Pack* __restrict__ u, Walk walk, Int packs, Int count) {
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
extern "C" __global__ void products(Pack* y, const Pack* __restrict__ x, const Pack* __restrict__ w, Walk walk, Int packs,
                                    Int count) {
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
extern "C" __global__ void products_data(Pack* dx, const Pack* __restrict__ dy, const Pack* __restrict__ w, Walk walk,
                                         Int packs, Int count) {
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

// dw[share, t, c] = sum of x[n, cell, c] dy[n, o, c] over the windows of one share, the adjoint in w.
extern "C" __global__ void products_weight(Sum* dw, const Pack* __restrict__ x, const Pack* __restrict__ dy, Walk walk,
                                           Int packs, Int windows, Int shares) {
  const Axis &a = walk.axes[0], &b = walk.axes[1], &c = walk.axes[2];
  const Int number = thread_number(), taps = taps_of(walk);
  if (number >= shares * taps * packs) return;
  Int rest = number / packs;
  const Int pack = number - rest * packs, share = rest / taps, tap = rest - share * taps;
  rest = tap / (Int)c.taps;
  const Int k = tap - rest * (Int)c.taps;
  const Int i = rest / (Int)b.taps, j = rest - i * (Int)b.taps;
  const Int length = (windows + shares - 1) / shares;
  const Int stop = (share + 1) * length < windows ? (share + 1) * length : windows;
  Sum sums[PACK] = {};
  for (Int row = share * length; row < stop; ++row) {
    const Place window = window_of(row, 1, walk);
    const Int cx = window.at[0] * (Int)a.stride + (Int)a.start + i * (Int)a.dilation;
    const Int cy = window.at[1] * (Int)b.stride + (Int)b.start + j * (Int)b.dilation;
    const Int cz = window.at[2] * (Int)c.stride + (Int)c.start + k * (Int)c.dilation;
    if (cx < 0 || cx >= (Int)a.cells || cy < 0 || cy >= (Int)b.cells || cz < 0 ||
        cz >= (Int)c.cells)
      continue;
    const Int plane = window.image * (Int)a.cells + cx;
    const Pack part = x[((plane * (Int)b.cells + cy) * (Int)c.cells + cz) * packs + pack];
    const Pack factors = dy[row * packs + pack];
    for (int v = 0; v < PACK; ++v) sums[v] += (Sum)part.of[v] * (Sum)factors.of[v];
  }
  for (int v = 0; v < PACK; ++v) dw[number * PACK + v] = sums[v];
}

// y[n, o, c] = sum of x[n, cell, c].
extern "C" __global__ void sums(Pack* y, const Pack* __restrict__ x, Walk walk, Int packs, Int count) {
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
extern "C" __global__ void maxima(Pack* y, const Pack* __restrict__ x, Walk walk, Int packs, Int count) {
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
extern "C" __global__ void winners(Places* places, const Pack* __restrict__ x, Walk walk, Int packs, Int count) {
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
extern "C" __global__ void winners_gradient(Pack* dx, const Pack* __restrict__ dy, const Places* __restrict__ places,
                                            Walk walk, Int packs, Int count) {
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
extern "C" __global__ void ties_gradient(Pack* dx, const Pack* __restrict__ dy, const Pack* __restrict__ x, const Pack* __restrict__ best,
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
