#!/usr/bin/env python3
"""Training steps of Transformers' models with random weights on the works of bench_step: sdpa attention, fused AdamW,
gradients clipped to a norm of 1; eager and by torch.compile. Where ours computes in bfloat16 with float32 masters, the
peer does so by autocast over float32 weights, and besides with weights and moments all in bfloat16, which is less exact.
Usage: step.py --csv=ROWS [--device=cpu|cuda] [--quick] [--compile]"""

import gc
import json
import math
import sys

from peer import Peer, dtype_of, require, rows, shapes_folder, torch

transformers, = require("transformers")


def model_of(name, device, dtype):
    text = json.loads((shapes_folder() / f"{name}.json").read_text(encoding="utf-8"))
    text.pop("torch_dtype")
    config = transformers.AutoConfig.for_model(**text)
    torch.manual_seed(1)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=dtype)
    return model


class Step:
    """One way to train."""

    def __init__(self, peer, work, weights, compiled):
        sizes = rows.sizes_of(work)
        self.device = peer.device
        self.compute = dtype_of(work)
        self.model = model_of(sizes["model"], peer.device, weights)
        self.model.train()
        self.model.config.use_cache = False
        if sizes["recompute"] not in ("none", "op"):
            self.model.gradient_checkpointing_enable()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
        length = int(sizes["length"])
        self.ids = torch.randint(self.model.config.vocab_size, (int(sizes["tokens"]) // length, length),
                                 device=peer.device)
        self.autocast = weights != self.compute
        self.forward = torch.compile(self.model) if compiled else self.model

    def run(self):
        with torch.autocast(self.device.type, self.compute, enabled=self.autocast):
            loss = self.forward(input_ids=self.ids, labels=self.ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def correct(self, loss):
        return abs(loss - math.log(self.model.config.vocab_size)) < 0.5


def ways(peer, work):
    """Labels, types of the weights, and whether compiled."""
    label = f"transformers {transformers.__version__}"
    types = {"": torch.float32}
    if work["dtype"] == "bfloat16":
        types = {" autocast": torch.float32, " all bfloat16": torch.bfloat16}
    for suffix, weights in types.items():
        yield label + suffix, weights, False
        if peer.compiles:
            yield label + suffix + " compiled", weights, True


def main():
    peer = Peer("step", __doc__)
    for work in peer.works:
        if work["name"] != "step":
            continue
        for label, weights, compiled in ways(peer, work):
            try:
                step = Step(peer, work, weights, compiled)
                peer.measure(work, step.run, step.correct, label)
            except torch.cuda.OutOfMemoryError:
                print(f"{label}: {work['shape']}: left out: it does not fit into memory", file=sys.stderr)
            step = None
            gc.collect()
            if peer.on_gpu:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
    return peer.exit_code()


if __name__ == "__main__":
    sys.exit(main())
