"""llama.cpp's server on the processor, through xllamacpp (pip install xllamacpp), until it gets SIGTERM.

usage: llama_server.py MODEL.gguf THREADS SLOTS CONTEXT

Prints its address as a line of JSON.
"""

import json
import signal
import sys
import threading

import xllamacpp

path, threads, slots, context = sys.argv[1], *map(int, sys.argv[2:5])
params = xllamacpp.CommonParams()
params.model.path = path
params.n_parallel = slots
params.n_ctx = slots * context
params.cpuparams.n_threads = threads
params.cpuparams_batch.n_threads = threads
params.n_gpu_layers = 0
params.port = 0
params.verbosity = 0
server = xllamacpp.Server(params)
print(json.dumps({"address": server.listening_address}), flush=True)
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
ended.wait()
