"""What a PEFT user runs to merge an adapter: load, merge_and_unload, save_pretrained. Prints its own times as JSON.

usage: peft_merge.py BASE ADAPTER OUT THREADS
"""

import json
import sys
import time

started = time.perf_counter()

import torch  # noqa: E402
from peft import PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

if __name__ == "__main__":
    base, adapter, out, threads = sys.argv[1:5]
    torch.set_num_threads(int(threads))
    imported = time.perf_counter()
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="auto"), adapter)
    loaded = time.perf_counter()
    merged = model.merge_and_unload()
    added = time.perf_counter()
    merged.save_pretrained(out)
    saved = time.perf_counter()
    print(
        json.dumps(
            {
                "imports": imported - started,
                "load": loaded - imported,
                "merge": added - loaded,
                "save": saved - added,
                "work": saved - imported,
            }
        )
    )
