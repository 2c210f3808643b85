#!/usr/bin/env bash
# install_sglang_cpu.sh VENV: SGLang for a CPU in an environment of its own (about 2 minutes, 2.8 GB).
# Stand-ins let the CUDA builds of its dependencies be imported beside a CPU torch: see stand_ins.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:?usage: install_sglang_cpu.sh VENV}
python3 -m venv "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check install -q"
$pip torch==2.13.0
$pip --no-deps sglang==0.5.23 torchvision==0.28.0
$pip torch==2.13.0 transformers==5.19.0 accelerate aiohttp apache-tvm-ffi==0.1.11 compressed-tensors==0.18.0 \
  dill distro einops fastapi gguf ipython jsonschema mistral_common msgspec numpy openai==2.8.0 \
  opentelemetry-api orjson packaging partial_json_parser pillow prometheus-client psutil pybase64 pydantic \
  python-multipart pyzmq regex requests scipy sentencepiece==0.2.1 setproctitle soundfile==0.13.1 tiktoken \
  tqdm "uvicorn>=0.51" uvloop watchfiles xgrammar==0.2.7 zstandard openai-harmony==0.0.4 \
  "llguidance>=1.7.6,<2" interegular xxhash
"$venv/bin/python" "$here/stand_ins.py" torchvision sgl_kernel xgrammar
