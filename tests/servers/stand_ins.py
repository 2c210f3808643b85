"""Stand-ins that let model servers run on a CPU. Run ``stand_ins.py torchvision sgl_kernel xgrammar`` once,
with the Python of their environment.

torchvision's CUDA wheel cannot load its operators beside a CPU torch; the script declares them, and nothing
calls them. SGLang imports ``sgl_kernel``, whose wheels need CUDA, but does not use it for dense models on a
CPU; the script writes an empty one, whose functions raise when called. SGLang applies xgrammar's masks, which
a limit of thinking tokens needs, only on accelerators, though xgrammar can on a CPU; the script lets it.
"""

import sys
import sysconfig
from pathlib import Path

KERNEL = '''"""A stand-in: every function raises when it is called."""
from torch import library

__version__ = "99.0.0"


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def absent(*args, **kwargs):
        raise NotImplementedError(f"sgl_kernel is a stand-in here: {name} was called")

    return absent


_declared = library.Library("sgl_kernel", "FRAGMENT")
for _name in (
    "fused_sigmoid_mul_cpu",
    "fused_qk_gemma_rmsnorm_cpu",
    "fused_qk_gemma_rmsnorm_with_gate_cpu",
    "fused_qkvzba_split_reshape_cat_contiguous_cpu",
):
    _declared.define(f"{_name}(Tensor x) -> Tensor")
'''

OPERATORS = '''"""Declares torchvision's operators just before torchvision is first imported."""
import sys


class _Before:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            from torch import library

            for operator in ("nms", "qnms"):
                signature = f"torchvision::{operator}"
                library.define(signature, "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return None


sys.meta_path.insert(0, _Before())
'''

REFUSED = 'raise RuntimeError(f"Unsupported device: {logits.device.type}")'
APPLIED = "__import__('xgrammar').apply_token_bitmask_inplace(logits, vocab_mask)"


def torchvision(site: Path) -> None:
    (site / "declare_torchvision_operators.py").write_text(OPERATORS)
    (site / "declare_torchvision_operators.pth").write_text("import declare_torchvision_operators\n")


def sgl_kernel(site: Path) -> None:
    (site / "sgl_kernel").mkdir(exist_ok=True)
    (site / "sgl_kernel" / "__init__.py").write_text(KERNEL)


def xgrammar(site: Path) -> None:
    backend = site / "sglang" / "srt" / "constrained" / "xgrammar_backend.py"
    backend.write_text(backend.read_text().replace(REFUSED, APPLIED))


if __name__ == "__main__":
    STAND_INS = {"torchvision": torchvision, "sgl_kernel": sgl_kernel, "xgrammar": xgrammar}
    for name in sys.argv[1:]:
        STAND_INS[name](Path(sysconfig.get_paths()["purelib"]))
