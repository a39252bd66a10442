"""A small JSENSE reconstruction: coil sensitivities and the image, from undersampled k-space alone.

    python benchmarks/jsense.py [--device cpu|0] [--size 128] [--coils 8] [--output jsense.png]

SigPy simulates eight coils around a Shepp-Logan phantom and estimates their sensitivities by
alternating least squares over two convolutions (JSENSE: Ying and Sheng, 2007,
https://doi.org/10.1002/mrm.21245). `anyconv.signal.sigpy.install()` makes these run on anyconv,
with `--device 0` on the GPU. The estimated maps then serve a SENSE reconstruction; the picture
shows both beside the truth.

Needs SigPy and matplotlib.
"""

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import sigpy
from sigpy import mri

from anyconv.signal.sigpy import install, uninstall


def simulate(size: int, coils: int, acceleration: int, calibration: int, noise: float):
    """The phantom, its coil maps (coils, size, size) and k-space on a part of the lines."""
    image = sigpy.shepp_logan((size, size), dtype=np.complex64)
    maps = mri.birdcage_maps((coils, size, size), dtype=np.complex64)
    sampled = np.zeros((size, size), dtype=np.float32)
    sampled[::acceleration] = 1
    middle = slice((size - calibration) // 2, (size + calibration) // 2)
    sampled[middle] = 1
    kspace = sigpy.fft(maps * image, axes=(-2, -1))
    rng = np.random.default_rng(0)
    real, imaginary = rng.standard_normal((2, *kspace.shape)).astype(np.float32)
    kspace = kspace + noise * np.abs(kspace).max() * (real + 1j * imaginary)
    return image, maps, (kspace * sampled).astype(np.complex64), sampled


def reconstruct(kspace, sampled, device, calibration: int):
    """The coil maps by JSENSE, the image by SENSE with these maps, and JSENSE's seconds."""
    started = time.perf_counter()
    maps = mri.app.JsenseRecon(
        kspace, mps_ker_width=8, ksp_calib_width=calibration, device=device, show_pbar=False
    ).run()
    seconds = time.perf_counter() - started
    image = mri.app.SenseRecon(
        sigpy.to_device(kspace, device),
        sigpy.to_device(maps, device),
        lamda=1e-3,
        weights=sigpy.to_device(sampled, device),
        device=device,
        show_pbar=False,
    ).run()
    return sigpy.to_device(maps), sigpy.to_device(image), seconds


def error_inside(estimate, truth, inside) -> float:
    """The relative error of magnitudes where the phantom is, after the best common scale."""
    a, b = np.abs(estimate)[..., inside], np.abs(truth)[..., inside]
    scale = np.vdot(a, b) / np.vdot(a, a)
    return float(np.linalg.norm(scale * a - b) / np.linalg.norm(b))


def picture(path: Path, panels, title: str) -> None:
    columns = len(panels[0])
    figure, axes = plt.subplots(
        len(panels), columns, figsize=(2.2 * columns, 2.35 * len(panels)), constrained_layout=True
    )
    for row, images in zip(axes, panels, strict=True):
        top = max(np.abs(image).max() for _, image in images)
        for axis, (name, image) in zip(row, images, strict=True):
            axis.imshow(np.abs(image), cmap="gray", vmin=0, vmax=top)
            axis.set_title(name, fontsize=9)
            axis.set_axis_off()
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, or the number of a GPU")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--coils", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("jsense.png"))
    arguments = parser.parse_args()
    device = sigpy.Device(-1 if arguments.device == "cpu" else int(arguments.device))

    calibration = 32
    image, maps, kspace, sampled = simulate(arguments.size, arguments.coils, 2, calibration, 2e-4)
    install()
    estimated, result, seconds = reconstruct(kspace, sampled, device, calibration)
    uninstall()

    zero_filled = sigpy.rss(sigpy.ifft(kspace, axes=(-2, -1)), axes=(0,))
    inside = np.abs(image) > 0.05
    errors = {
        "coil maps": error_inside(estimated, maps, inside),
        "image": error_inside(result, image, inside),
        "image, zero-filled": error_inside(zero_filled, image, inside),
    }
    for name, error in errors.items():
        print(f"relative error of the {name}: {error:.3f}")
    print(f"JSENSE took {seconds:.2f} s on {device}")

    shown = range(0, arguments.coils, max(1, arguments.coils // 3))
    panels = [
        [("phantom", image), ("zero-filled", zero_filled), ("JSENSE + SENSE", result)],
        [(f"coil {c}, true", maps[c] * inside) for c in shown][:3],
        [(f"coil {c}, estimated", estimated[c] * inside) for c in shown][:3],
    ]
    picture(
        arguments.output,
        panels,
        f"{arguments.coils} coils, every second line, error {errors['image']:.3f}"
        f" (zero-filled {errors['image, zero-filled']:.3f})",
    )
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
