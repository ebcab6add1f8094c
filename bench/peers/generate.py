#!/usr/bin/env python3
"""Greedy generation by Transformers with random weights on the works of bench_generate.
Usage: generate.py --csv=ROWS [--device=cpu|cuda] [--quick]"""

import sys

from peer import Peer, dtype_of, rows, torch
from step import model_of, transformers


def measure(peer, work):
    sizes = rows.sizes_of(work)
    new = int(sizes["new"])
    model = model_of(sizes["model"], peer.device, dtype_of(work)).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    prompts = torch.randint(model.config.vocab_size, (int(sizes["sequences"]), int(sizes["prompt"])),
                            device=peer.device)
    mask = torch.ones_like(prompts)

    def run():
        with torch.no_grad():
            return model.generate(prompts, attention_mask=mask, do_sample=False, max_new_tokens=new)

    peer.measure(work, run, lambda ids: ids.shape[1] == prompts.shape[1] + new and torch.equal(
        ids[:, :prompts.shape[1]], prompts), f"transformers {transformers.__version__}")


def main():
    peer = Peer("generate", __doc__)
    for work in peer.works:
        if work["name"] == "generate":
            measure(peer, work)
    return peer.exit_code()


if __name__ == "__main__":
    sys.exit(main())
