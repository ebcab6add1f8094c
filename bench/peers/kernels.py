#!/usr/bin/env python3
"""PyTorch's kernels on the works of bench_kernels: norms, activations, attention (sdpa: flash, cuDNN), products, loss,
fused AdamW and others. Usage: kernels.py --csv=ROWS [--device=cpu|cuda] [--quick]"""

import contextlib
import math
import sys

from peer import Peer, dtype_of, near, rows, torch

functional = torch.nn.functional


class Case:
    """Tensors of one work; each method named as a kernel gives (run, correct)."""

    def __init__(self, peer, work):
        self.device = peer.device
        self.dtype = dtype_of(work)
        self.size = {key: int(value) for key, value in rows.sizes_of(work).items() if value.isdigit()}

    def normal(self, *shape, scale=1.0, dtype=None):
        return torch.randn(shape, device=self.device).mul_(scale).to(dtype or self.dtype)

    def leaf(self, *shape):
        return self.normal(*shape).requires_grad_()

    def near(self, actual, expected, scale=1.0):
        return near(actual, expected, self.dtype, scale)

    # Backward passes run alone: on the graph of one forward pass, kept.
    def backward_of(self, output, inputs):
        grad = torch.randn_like(output)
        return grad, lambda: torch.autograd.grad(output, inputs, grad, retain_graph=True)

    def rms_norm_forward(self):
        x, weight = self.normal(self.size["rows"], self.size["cols"]), self.normal(self.size["cols"])
        return (lambda: functional.rms_norm(x, (x.shape[1],), weight, 1e-5),
                lambda y: self.near(y[-1], self.rms_norm(x[-1], weight)))

    @staticmethod
    def rms_norm(x, weight):
        x = x.double()
        return x * (x.square().mean() + 1e-5).rsqrt() * weight.double()

    def rms_norm_backward(self):
        x, weight = self.leaf(self.size["rows"], self.size["cols"]), self.leaf(self.size["cols"])
        grad, run = self.backward_of(functional.rms_norm(x, (x.shape[1],), weight, 1e-5), (x, weight))

        def correct(gradients):
            last = x[-1].detach().double().requires_grad_()
            expected, = torch.autograd.grad(self.rms_norm(last, weight), last, grad[-1].double())
            return self.near(gradients[0][-1], expected)
        return run, correct

    def gated_activation_forward(self):
        x = self.normal(self.size["rows"], 2 * self.size["cols"])
        gate, up = x.chunk(2, dim=1)
        return (lambda: functional.silu(gate) * up,
                lambda y: self.near(y[-1], functional.silu(gate[-1].double()) * up[-1].double()))

    def gated_activation_backward(self):
        x = self.leaf(self.size["rows"], 2 * self.size["cols"])
        gate, up = x.chunk(2, dim=1)
        grad, run = self.backward_of(functional.silu(gate) * up, (x,))

        def correct(gradients):
            expected = grad[-1].double() * functional.silu(gate[-1].double())
            return self.near(gradients[0][-1, self.size["cols"]:], expected)
        return run, correct

    def embedding_forward(self):
        table = self.normal(self.size["out"], self.size["cols"])
        ids = torch.randint(self.size["out"], (self.size["rows"],), device=self.device)
        return lambda: functional.embedding(ids, table), lambda y: torch.equal(y[-1], table[ids[-1]])

    def bias_add(self):
        x, bias = self.normal(self.size["rows"], self.size["cols"]), self.normal(self.size["cols"])
        return lambda: x + bias, lambda y: self.near(y[-1], x[-1].double() + bias.double())

    def bias_gradient(self):
        dy = self.normal(self.size["rows"], self.size["cols"])
        return (lambda: dy.sum(0, dtype=torch.float32),
                lambda y: self.near(y[:1], dy[:, :1].double().sum(0), math.sqrt(dy.shape[0])))

    def add(self):
        a, b = self.normal(self.size["cols"]), self.normal(self.size["cols"])
        y = torch.empty_like(a)
        return lambda: torch.add(a, b, out=y), lambda y: self.near(y[-9:], a[-9:].double() + b[-9:].double())

    def scale(self):
        x = self.normal(self.size["cols"])
        y = torch.empty_like(x)
        return lambda: torch.mul(x, 0.5, out=y), lambda y: self.near(y[-9:], x[-9:].double() / 2)

    def cast(self):
        x = self.normal(self.size["cols"])
        y = torch.empty_like(x, dtype=torch.bfloat16 if self.dtype == torch.float32 else torch.float32)
        return lambda: y.copy_(x), lambda y: near(y[-9:], x[-9:], torch.bfloat16)

    def fill(self):
        y = torch.empty(self.size["cols"], dtype=self.dtype, device=self.device)
        return lambda: y.fill_(0.75), lambda y: bool((y[-9:] == 0.75).all())

    def random_normal(self):
        y = torch.empty(self.size["cols"], dtype=self.dtype, device=self.device)
        return y.normal_, lambda y: abs(float(y.double().std()) - 1) < 0.1

    def random_uniform(self):
        y = torch.empty(self.size["cols"], dtype=self.dtype, device=self.device)
        return y.uniform_, lambda y: abs(float(y.double().mean()) - 0.5) < 0.05

    def linear_forward(self):
        x, w = self.normal(self.size["rows"], self.size["cols"]), self.normal(self.size["out"], self.size["cols"])
        return (lambda: functional.linear(x, w),
                lambda y: self.near(y[-1, -1], x[-1].double() @ w[-1].double(), math.sqrt(self.size["cols"])))

    def linear_backward_input(self):
        dy, w = self.normal(self.size["rows"], self.size["out"]), self.normal(self.size["out"], self.size["cols"])
        return (lambda: dy @ w,
                lambda y: self.near(y[-1, -1], dy[-1].double() @ w[:, -1].double(), math.sqrt(self.size["out"])))

    # PyTorch's gradient has the type of the weight; ours is float32 and added to what is there.
    def linear_backward_weight(self):
        dy, x = self.normal(self.size["rows"], self.size["out"]), self.normal(self.size["rows"], self.size["cols"])
        return (lambda: dy.t() @ x,
                lambda y: self.near(y[-1, -1], dy[:, -1].double() @ x[:, -1].double(), math.sqrt(self.size["rows"])))

    def linear_cross_entropy(self):
        x = self.leaf(self.size["rows"], self.size["cols"])
        weight = self.normal(self.size["out"], self.size["cols"],
                             scale=1 / math.sqrt(self.size["cols"])).requires_grad_()
        targets = torch.randint(self.size["out"], (self.size["rows"],), device=self.device)

        def run():
            loss = functional.cross_entropy(functional.linear(x, weight).float(), targets, reduction="sum")
            return torch.autograd.grad(loss, (x, weight))

        def correct(gradients):
            row = x[0].detach().double().requires_grad_()
            loss = functional.cross_entropy(row @ weight.detach().double().t(), targets[0])
            return self.near(gradients[0][0], torch.autograd.grad(loss, row)[0])
        return run, correct

    def heads(self, name, count, length):
        return self.normal(count, self.size[name], length, self.size["head_dim"]).requires_grad_()

    def attention(self):
        length = self.size["length"]
        documents = self.size["rows"] // length
        q = self.heads("heads", documents, length)
        k, v = self.heads("kv_heads", documents, length), self.heads("kv_heads", documents, length)
        shared = self.size["heads"] != self.size["kv_heads"]

        def forward():
            return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=shared)
        return q, k, v, forward

    def attention_forward(self):
        q, k, v, forward = self.attention()

        def run():
            with torch.no_grad():
                return forward()

        def correct(y):
            scores = q[-1, 0, -1].double() @ k[-1, 0].double().t() / math.sqrt(self.size["head_dim"])
            return self.near(y[-1, 0, -1], scores.softmax(0) @ v[-1, 0].double())
        return run, correct

    def attention_backward(self):
        q, k, v, forward = self.attention()
        grad, run = self.backward_of(forward(), (q, k, v))

        def correct(gradients):
            query = q[-1, 0, -1].detach().double().requires_grad_()
            scores = query @ k[-1, 0].double().t() / math.sqrt(self.size["head_dim"])
            out = scores.softmax(0) @ v[-1, 0].double()
            return self.near(gradients[0][-1, 0, -1], torch.autograd.grad(out, query, grad[-1, 0, -1].double())[0])
        return run, correct

    def decode_attention(self):
        q = self.normal(self.size["rows"], self.size["heads"], 1, self.size["head_dim"])
        k = self.normal(self.size["rows"], self.size["kv_heads"], self.size["length"], self.size["head_dim"])
        v = torch.randn_like(k)
        shared = self.size["heads"] != self.size["kv_heads"]

        def correct(y):
            scores = q[-1, 0, 0].double() @ k[-1, 0].double().t() / math.sqrt(self.size["head_dim"])
            return self.near(y[-1, 0, 0], scores.softmax(0) @ v[-1, 0].double())
        return lambda: functional.scaled_dot_product_attention(q, k, v, enable_gqa=shared), correct

    def adamw_step(self):
        param = torch.nn.Parameter(self.normal(self.size["cols"]))
        param.grad = torch.ones_like(param)
        before = param[:9].detach().double().clone()
        optimizer = torch.optim.AdamW([param], lr=0.01, weight_decay=0.0, fused=True)
        # Equal gradients change a weight by the rate; this is looked at after two steps.
        return optimizer.step, lambda _: self.near(param[:9].detach(), before - 0.02, 0.1)

    def squared_norm(self):
        x = self.normal(self.size["cols"])
        return (lambda: torch.linalg.vector_norm(x),
                lambda y: abs(float(y) ** 2 / float(x.double().square().sum()) - 1) < 1e-4)

    def argmax(self):
        logits = self.normal(self.size["rows"], self.size["out"])
        return lambda: logits.argmax(1), lambda y: bool((logits.gather(1, y[:, None])[:, 0] == logits.max(1)[0]).all())

    def sample(self):
        logits = self.normal(self.size["rows"], self.size["out"])
        return (lambda: torch.multinomial((logits * 2).softmax(1), 1),
                lambda y: bool(((y >= 0) & (y < logits.shape[1])).all()))

    def transpose(self):
        x = self.normal(self.size["rows"], self.size["cols"])
        return lambda: x.t().contiguous(), lambda y: torch.equal(y[-1], x[:, -1])


def attention_backends(peer):
    """Labels and contexts: on a GPU each implementation of sdpa by itself."""
    if not peer.on_gpu:
        return {f"{peer.label} sdpa": contextlib.nullcontext()}
    from torch.nn.attention import SDPBackend, sdpa_kernel
    return {f"{peer.label} sdpa flash": sdpa_kernel(SDPBackend.FLASH_ATTENTION),
            f"{peer.label} sdpa cudnn": sdpa_kernel(SDPBackend.CUDNN_ATTENTION)}


def measure(peer, work, label=None):
    run, correct = getattr(Case(peer, work), work["name"])()
    peer.measure(work, run, correct, label)


def main():
    peer = Peer("kernels", __doc__)
    for work in peer.works:
        if not hasattr(Case, work["name"]):
            continue
        if "attention_" not in work["name"]:
            measure(peer, work)
            continue
        for label, backend in attention_backends(peer).items():
            try:
                with backend:
                    measure(peer, work, label)
            except RuntimeError as error:  # a backend that does not serve these sizes or this GPU
                print(f"{label}: {work['name']} {work['shape']}: left out: {str(error).splitlines()[0]}", file=sys.stderr)
    return peer.exit_code()


if __name__ == "__main__":
    sys.exit(main())
