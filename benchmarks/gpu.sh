#!/usr/bin/env bash
# Everything that needs a GPU, in one call of under ten minutes: the whole test suite with CuPy and
# PyTorch on CUDA required, then the benchmarks of CuPy arrays against cuDNN through PyTorch.
#
#     benchmarks/gpu.sh OUTPUT_FOLDER [--dry-run]
#
# Leaves at most eight files in the folder, flat: log.txt, and a JSON file of each benchmark. A step
# that fails or runs out of time does not stop the next; the exit code says whether all went well.
# --dry-run takes NumPy and tiny settings, to see without a GPU that every command works.
# PYTHON chooses the interpreter, ANYCONV_COMMIT names the commit where the history is not at hand.
set -uo pipefail
exec </dev/null

if [[ $# -lt 1 || $1 == -* ]]; then
  echo "usage: benchmarks/gpu.sh OUTPUT_FOLDER [--dry-run]" >&2
  exit 2
fi
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
dry=${2:-}
[[ -z $dry || $dry == --dry-run ]] || { echo "unknown option $dry" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

python=${PYTHON:-python3}
readonly budget=570 # seconds for all steps together
slack=1               # times each limit
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 MPLBACKEND=Agg CI=true
export XLA_PYTHON_CLIENT_PREALLOCATE=false # JAX would keep three quarters of the GPU to itself
failed=()
exec > >(tee "$out/log.txt") 2>&1

# step NAME SECONDS COMMAND...: run with this limit, and within what is left of the budget.
step() {
  local name=$1 limit=$2 left=$((budget - SECONDS)) status=0
  shift 2
  if ((left < 5)); then
    echo "== $name: no time left"
    failed+=("$name")
    return
  fi
  echo "== $name (at $SECONDS s): $*"
  timeout --kill-after=5 "$((limit * slack < left ? limit * slack : left))" "$@" || status=$?
  ((status == 0)) || { echo "== $name: exit code $status"; failed+=("$name"); }
}

"$python" - <<'EOF' || exit 2
import importlib.util, sys
needed = "numpy array_api_compat array_api_extra threadpoolctl rich pytest hypothesis h5py".split()
if missing := [name for name in needed if not importlib.util.find_spec(name)]:
    sys.exit(f"missing Python packages: {' '.join(missing)}")
EOF
parallel=()
"$python" -c 'import xdist' 2>/dev/null && parallel=(-n 12 --dist worksteal)

if [[ -n $dry ]]; then
  slack=5 # the machine may be busy with other things
  step tests 120 env ANYCONV_REQUIRE=numpy "$python" -m pytest -q -p no:cacheprovider \
    tests/test_geometry.py
  common=(--backend numpy --repeat 1)
  few=(--layers course)
  small=(--batch-factor 1)
  step signs 120 "$python" benchmarks/signs.py --images 4 --repeat 1 --backends numpy,torch \
    --output "$out/signs.json"
else
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  # Newer libraries may warn of what they will change; here that is no failure.
  step tests 220 env ANYCONV_REQUIRE=cupy,torch:cuda "$python" -m pytest -q -W default \
    -p no:cacheprovider "${parallel[@]}"
  common=(--backend cupy)
  few=()
  small=(--batch-factor 8) # the table's batches leave most of a large GPU idle
  step signs 60 "$python" benchmarks/signs.py --output "$out/signs.json"
fi

step layers-float32 130 "$python" benchmarks/layers.py "${common[@]}" "${few[@]}" \
  --peers torch --least-seconds 0.005 --within 110 --output "$out/layers-float32.json"
step pools 25 "$python" benchmarks/pools.py "${common[@]}" --output "$out/pools.json"
step layers-float16 80 "$python" benchmarks/layers.py "${common[@]}" "${few[@]}" --dtype float16 \
  --algorithms auto --peers torch --least-seconds 0.005 --within 60 \
  --output "$out/layers-float16.json"
step train 40 "$python" benchmarks/train.py "${common[@]}" "${small[@]}" \
  --output "$out/train.json"
step accuracy 50 "$python" benchmarks/accuracy.py "${common[@]}" "${few[@]}" --within 35 \
  --output "$out/accuracy.json"
step calibrate 40 "$python" benchmarks/calibrate.py "${common[@]}" ${dry:+--quick} \
  --output "$out/calibrate.json"

echo "== done in $SECONDS s; failed: ${failed[*]:-nothing}"
((${#failed[@]} == 0))
