#!/usr/bin/env python3
"""torch.linalg on the works of bench_linalg: the singular value decomposition in float32, and the projections of a study
from it, decomposing once, and for every cell as scripts that keep nothing do.
Usage: linalg.py --csv=ROWS [--device=cpu|cuda] [--quick]"""

import sys

from peer import Peer, rows, torch

FRACTIONS = (0.01, 0.25, 0.5, 0.75, 0.99)


def matrices(peer, work):
    sizes = rows.sizes_of(work)
    shape = (int(sizes["rows"]), int(sizes["cols"]))
    return [1e-3 * torch.randn(shape, device=peer.device) for _ in range(2)]


def is_basis(u, v, k):
    """Orthonormal columns whose span holds what the largest k singular vectors of v hold."""
    identity = torch.eye(k, dtype=torch.float64, device=u.device)
    u = u[:, :k].double()
    if not float((u.t() @ u - identity).abs().max()) < 1e-4:
        return False
    singular = torch.linalg.svdvals(v.double())
    return bool(abs((u.t() @ v.double()).square().sum() / singular[:k].square().sum() - 1) < 0.1)


def decomposition(peer, work):
    v, _ = matrices(peer, work)
    side = min(v.shape)
    peer.measure(work, lambda: torch.linalg.svd(v, full_matrices=False)[0], lambda u: is_basis(u, v, side),
                 f"{peer.label} svd")


def leading(peer, work):
    v, _ = matrices(peer, work)
    k = min(v.shape) // 100
    peer.measure(work, lambda: torch.svd_lowrank(v, q=2 * k, niter=8)[0], lambda u: is_basis(u, v, k),
                 f"{peer.label} svd_lowrank")


def random_basis(peer, work):
    v, _ = matrices(peer, work)
    k = min(v.shape) * 99 // 100
    peer.measure(work, lambda: torch.linalg.qr(torch.randn(v.shape[0], k, device=v.device))[0],
                 lambda q: bool((q.t() @ q - torch.eye(k, device=q.device)).abs().max() < 1e-4), f"{peer.label} qr")


class Projection:
    """Five fractions, two modes, three bases: leading, trailing and random vectors."""

    def __init__(self, v, d, every_cell):
        self.v, self.d, self.every_cell = v, d, every_cell
        self.side = min(v.shape)

    def basis(self):
        return torch.linalg.svd(self.v, full_matrices=False)[0]

    def random(self):
        return torch.linalg.qr(torch.randn(self.v.shape[0], self.side, device=self.v.device))[0]

    def run(self):
        kept = (self.basis(), self.random())
        for which in range(3):
            for fraction in FRACTIONS:
                k = int(fraction * self.side)
                for orthogonal in (False, True):
                    u, random = (self.basis(), self.random()) if self.every_cell else kept
                    vectors = (u[:, :k], u.flip(1)[:, :k], random[:, :k])[which]
                    parallel = vectors @ (vectors.t() @ self.d)
                    result = self.d - parallel if orthogonal else parallel
                    energy = result.square().sum()
        return parallel, energy

    def correct(self, last):
        """A projection's energy and the rest's add up to all."""
        total = self.d.double().square().sum()
        return abs(float((last[0].double().square().sum() + last[1].double()) / total) - 1) < 1e-3


def projection(peer, work):
    v, d = matrices(peer, work)
    ways = {f"{peer.label} one svd": False}
    if v.numel() <= 1 << 20:  # 30 decompositions of larger matrices take minutes
        ways[f"{peer.label} svd for every cell"] = True
    for label, every_cell in ways.items():
        way = Projection(v, d, every_cell)
        peer.measure(work, way.run, way.correct, label)


WORKS = {"gram": decomposition, "randomized": leading, "random_basis": random_basis, "projection": projection}


def main():
    peer = Peer("linalg", __doc__)
    for work in peer.works:
        if work["name"] in WORKS:
            WORKS[work["name"]](peer, work)
    return peer.exit_code()


if __name__ == "__main__":
    sys.exit(main())
