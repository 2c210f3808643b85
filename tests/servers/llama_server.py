"""llama.cpp's own HTTP server from the xllamacpp wheel: ``llama_server.py MODEL.gguf PORT [MMPROJ.gguf]``.

Four slots of 8,192 tokens each. Prints one line when it listens and stops on SIGTERM.
"""

import signal
import sys

import xllamacpp

SLOTS, CONTEXT = 4, 8192


def main(model: str, port: str, *mmproj: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"tiny"}
    params.hostnames, params.port = ["127.0.0.1"], int(port)
    params.n_ctx, params.n_parallel = SLOTS * CONTEXT, SLOTS
    params.n_predict, params.warmup = -1, False
    params.cpuparams.n_threads = 1
    params.endpoint_metrics = True
    if mmproj:
        params.mmproj.path = mmproj[0]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])


if __name__ == "__main__":
    main(*sys.argv[1:])
