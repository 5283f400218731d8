"""Steps of PEFT's LoRA, RandLoRA, sparse and very sparse RandLoRA with torch's AdamW, one a line of standard input that names the method.

usage: peft_train.py BASE TOKENS RANDLORA_RANK LORA_RANK THREADS

Prints `{"ready": {"randlora": parameters, "sparse": …, "lora": …}}`, then for each step its seconds, its processor time, and
its loss. Everything is f32, as PEFT's users train on a CPU; texts have at most 512 tokens, all but the first supervised.
"""

import json
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, RandLoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
ROW = 512


class Trainee:
    def __init__(self, base: Path, config: LoraConfig | RandLoraConfig, tokens: int) -> None:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        self.model = get_peft_model(model, config).train()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.parameters = sum(p.numel() for p in trained)
        self.trained = trained
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
        length = min(ROW, tokens)
        ids = (torch.arange(1, tokens + 1) * 7919) % model.config.vocab_size
        self.ids = ids.view(tokens // length, length)

    def step(self) -> float:
        self.optimizer.zero_grad()
        logits = self.model(input_ids=self.ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), self.ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return loss.item()


def main() -> None:
    base, tokens, randlora_rank, lora_rank, threads = Path(sys.argv[1]), *map(int, sys.argv[2:6])
    torch.set_num_threads(threads)
    randlora = {"r": randlora_rank, "randlora_alpha": 20 * randlora_rank, "target_modules": TARGETS}
    configs = {
        "randlora": RandLoraConfig(**randlora),
        "sparse": RandLoraConfig(**randlora, sparse=True),
        "very-sparse": RandLoraConfig(**randlora, very_sparse=True),
        "lora": LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules=TARGETS),
    }
    trainees = {name: Trainee(base, config, tokens) for name, config in configs.items()}
    print(json.dumps({"ready": {name: trainee.parameters for name, trainee in trainees.items()}}), flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        loss = trainees[line.strip()].step()
        times = {"seconds": time.perf_counter() - wall, "coreSeconds": time.process_time() - cpu, "loss": loss}
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
