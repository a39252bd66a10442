// How kernels go through windows, put before the text of each.
//
// Arrays are canonical and lie without gaps: cells (n, *cells, channels), outputs (n, *outputs,
// channels), unfolded windows (n, *outputs, *taps, channels). Tap k of window o along an axis is on
// cell `stride * o + dilation * k + start`; a tap on no cell is left out, so padding is not made.
//
// Before this text stand the types: T of the elements, Sum of what is added up, Int of all places;
// and PACK, the neighbouring channels that a thread takes at once.

struct Axis { long long outputs, taps, stride, dilation, start, cells; };
struct Walk { Axis axes[3]; };

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

__device__ Int number_in_plane(const Walk& walk, const Place& cell) {
  const Int row = cell.at[0] * (Int)walk.axes[1].cells + cell.at[1];
  return row * (Int)walk.axes[2].cells + cell.at[2];
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

// The number in its plane of the cell under one tap of a window, or -1.
__device__ Int cell_under(const Walk& walk, const Place& window, Int i, Int j, Int k) {
  const Axis &a = walk.axes[0], &b = walk.axes[1], &c = walk.axes[2];
  const Int x = window.at[0] * (Int)a.stride + (Int)a.start + i * (Int)a.dilation;
  const Int y = window.at[1] * (Int)b.stride + (Int)b.start + j * (Int)b.dilation;
  const Int z = window.at[2] * (Int)c.stride + (Int)c.start + k * (Int)c.dilation;
  const bool is_cell = x >= 0 && x < (Int)a.cells && y >= 0 && y < (Int)b.cells && z >= 0 &&
                       z < (Int)c.cells;
  return is_cell ? (x * (Int)b.cells + y) * (Int)c.cells + z : -1;
}

__device__ Int cell_under(const Walk& walk, const Place& window, Int tap) {
  const Int rest = tap / (Int)walk.axes[2].taps, i = rest / (Int)walk.axes[1].taps;
  const Int j = rest - i * (Int)walk.axes[1].taps, k = tap - rest * (Int)walk.axes[2].taps;
  return cell_under(walk, window, i, j, k);
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
