"""Images a second of training the command's networks: anyconv against the same in PyTorch.

    python benchmarks/train.py [--backend numpy|cupy|torch|jax] [--models notebook,small,large]
        [--threads 2] [--batch-factor 1] [--output FILE.json]

A step is forward, loss, backward and Adam on a batch that is already on the device; reading and
changing the images is left out. PyTorch's network is built from ours, layer for layer, with the
same weights; before anything is timed both must give the same loss on the first batch. It runs with
each of its memory layouts, as a user would write it: autograd and `torch.optim.AdamW`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _backends import Backend, choose
from _common import finish, measure, parser, threads
from _peers import in_memory, peers
from _tables import ratio, show

from anyconv import nn
from anyconv.nn.models import build

# model: image, classes, images in a step; as the command trains them, without what is random
MODELS = {
    "notebook": ((64, 64, 3), 6, 16),
    "small": ((8, 8, 1), 10, 32),
    "large": ((64, 64, 3), 6, 36),
}
RATE, DECAY, SMOOTHING = 1e-3, 0.05, 0.1

Step = Callable[[], Any]


def batch(model: str, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (m, height, width, channels) and labels (m,)."""
    shape, classes, m = MODELS[model]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((m * factor, *shape), dtype=np.float32)
    return x, rng.integers(0, classes, m * factor)


def network(model: str) -> nn.Sequential:
    """The command's network, without the dropout that draws its numbers on the CPU."""
    shape, classes, _ = MODELS[model]
    built = build(model, shape, classes, 0)
    return nn.Sequential(*(x for x in built.layers if not isinstance(x, nn.Dropout)))


def our_step(model: str, backend: Backend, factor: int) -> Step:
    images, labels = batch(model, factor)
    net = network(model).to(backend.xp, device=backend.device)
    x, y = backend.asarray(images, "float32"), backend.asarray(labels, "int64")
    loss, adam = nn.SoftmaxCrossEntropy(SMOOTHING), nn.Adam(RATE, weight_decay=DECAY)

    def step() -> Any:
        value = loss.forward(net.forward(x, training=True), y)
        net.backward(loss.backward(), input_gradient=False)
        adam.step(net)
        return value

    return step


def torch_step(model: str, peer: Backend, factor: int, memory: str) -> Step:
    import torch
    from torch.nn import functional

    images, labels = batch(model, factor)
    net = torch.nn.Sequential(*map(torch_layer, network(model).layers)).to(peer.device)
    if memory == "last":
        net = net.to(memory_format=torch.channels_last)
    x = peer.asarray(np.ascontiguousarray(np.moveaxis(images, -1, 1)), "float32")
    x, y = in_memory(x, 2, memory), peer.asarray(labels, "int64")
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY)

    def step() -> Any:
        adam.zero_grad()
        value = functional.cross_entropy(net(x), y, label_smoothing=SMOOTHING)
        value.backward()
        adam.step()
        return value.detach()

    return step


def torch_layer(layer: nn.Layer) -> Any:
    """The same layer in PyTorch, with the same parameters."""
    import torch

    if isinstance(layer, nn.Conv):
        w = np.moveaxis(layer.parameters["w"], (-1, -2), (0, 1))
        padding = layer.options["padding"]
        made = torch.nn.Conv2d(
            w.shape[1],
            w.shape[0],
            w.shape[2:],
            stride=layer.options["stride"],
            padding=padding,
            bias="b" in layer.parameters,
        )
        return _filled(made, w, layer.parameters.get("b"))
    if isinstance(layer, nn.Dense):
        w = layer.parameters["w"].T
        return _filled(torch.nn.Linear(w.shape[1], w.shape[0]), w, layer.parameters["b"])
    if isinstance(layer, nn.BatchNorm):
        made = torch.nn.BatchNorm2d(len(layer.parameters["b"]), layer.epsilon, layer.momentum)
        return _filled(made, layer.parameters["gain"], layer.parameters["b"])
    if isinstance(layer, nn.MaxPool):  # images are whole windows here: SAME adds nothing
        return torch.nn.MaxPool2d(layer.kernel_size, layer.options["stride"])
    if isinstance(layer, nn.AvgPool):
        return torch.nn.AvgPool2d(layer.kernel_size, layer.options["stride"])
    if isinstance(layer, nn.ReLU):
        return torch.nn.ReLU()
    if isinstance(layer, nn.Flatten):
        return _flatten()
    raise TypeError(f"{layer!r} has no counterpart here")


def _filled(module: Any, w: np.ndarray, b: np.ndarray | None) -> Any:
    import torch

    with torch.no_grad():
        module.weight.copy_(torch.tensor(np.ascontiguousarray(w)))
        if b is not None:
            module.bias.copy_(torch.tensor(b))
    return module


def _flatten() -> Any:
    """Flatten to the order of our weights: height, width, channel."""
    import torch

    class FlattenChannelsLast(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.permute(0, 2, 3, 1).flatten(1)

    return FlattenChannelsLast()


def compare(model: str, backend: Backend, others: dict[str, Backend], options: Any) -> dict:
    """Images a second of each library."""
    steps, waits = {"ours": our_step(model, backend, options.batch_factor)}, [backend.wait]
    for peer in others.values():
        for memory in ("first", "last"):
            steps[f"torch {memory}"] = torch_step(model, peer, options.batch_factor, memory)
            waits.append(peer.wait)
    losses = {name: float(step()) for name, step in steps.items()}
    timings = measure(steps, wait=dict(zip(steps, waits, strict=True)), repeat=options.repeat)
    images = MODELS[model][2] * options.batch_factor
    rates = {name: images / timing.median for name, timing in timings.items()}
    best = max((rate for name, rate in rates.items() if name != "ours"), default=None)
    return {
        "model": model,
        "batch": images,
        "images_per_second": rates,
        "spread": {name: timing.spread for name, timing in timings.items()},
        "first_loss": losses,
        "ratio": rates["ours"] / best if best else None,
    }


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--backend", default="numpy", help="the arrays that ours is given")
    command.add_argument("--models", default=",".join(MODELS), help="networks to train")
    command.add_argument("--batch-factor", type=int, default=1, help="times the usual batch")
    options = command.parse_args()
    with threads(options.threads) as count:
        backend = choose(options.backend)
        others = peers("torch", backend)
        rows = [compare(m, backend, others, options) for m in options.models.split(",")]
        names = list(rows[0]["images_per_second"])
        table = show(
            f"Training on {backend.name}, float32, {count} threads: images a second",
            ["network", "batch", *names, "ratio", "first loss"],
            [
                [
                    row["model"],
                    str(row["batch"]),
                    *(f"{row['images_per_second'][name]:,.0f}" for name in names),
                    ratio(row["ratio"]),
                    f"{row['first_loss']['ours']:.5f}",
                ]
                for row in rows
            ],
        )
        finish("train", options, count, rows, tables=[table])
    unlike = [row for row in rows if np.ptp(list(row["first_loss"].values())) > 1e-4]
    for row in unlike:
        print(f"DIFFERS: {row['model']}: {row['first_loss']}")
    return 1 if unlike else 0


if __name__ == "__main__":
    raise SystemExit(main())
