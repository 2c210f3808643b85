"""evalkit: evaluation of language and vision-language models on biomedical and multimodal work.

Everything that a task file needs is here: ``from evalkit import Answer, Model, Retriever, Sample, task``.
Names are imported when first used, so that ``import evalkit`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# At once, not when first used: submodules of the same names would otherwise take the names.
from evalkit.metric import metric as metric
from evalkit.task import task as task
from evalkit.util.lazy import lazy_names
from evalkit.util.version import VERSION as __version__

_WHERE = {
    "Answer": "evalkit.types",
    "Audio": "evalkit.types",
    "Estimate": "evalkit.types",
    "Image": "evalkit.types",
    "Message": "evalkit.types",
    "Requirements": "evalkit.types",
    "Passage": "evalkit.types",
    "Progress": "evalkit.types",
    "Request": "evalkit.types",
    "Response": "evalkit.types",
    "Retriever": "evalkit.types",
    "Sample": "evalkit.types",
    "Status": "evalkit.types",
    "Text": "evalkit.types",
    "Video": "evalkit.types",
    "EvalkitError": "evalkit.errors",
    "Metric": "evalkit.metric",
    "Model": "evalkit.model",
    "cited": "evalkit.rag.prompts",
    "Rag": "evalkit.rag.answering",
    "evidence": "evalkit.rag.arms",
    "fixture": "evalkit.task",
    "numbered": "evalkit.rag.prompts",
    "Info": "evalkit.task",
    "parametrize": "evalkit.task",
    "rag_arms": "evalkit.rag.arms",
    "Value": "evalkit.task",
    "skip": "evalkit.task",
    "skipif": "evalkit.task",
    "xfail": "evalkit.task",
}

__all__ = ["__version__", "metric", "task", *_WHERE]

if TYPE_CHECKING:
    from evalkit.errors import EvalkitError as EvalkitError
    from evalkit.metric import Metric as Metric
    from evalkit.model import Model as Model
    from evalkit.rag.answering import Rag as Rag
    from evalkit.rag.arms import evidence as evidence
    from evalkit.rag.arms import rag_arms as rag_arms
    from evalkit.rag.prompts import cited as cited
    from evalkit.rag.prompts import numbered as numbered
    from evalkit.task import Info as Info
    from evalkit.task import Value as Value
    from evalkit.task import fixture as fixture
    from evalkit.task import parametrize as parametrize
    from evalkit.task import skip as skip
    from evalkit.task import skipif as skipif
    from evalkit.task import xfail as xfail
    from evalkit.types import Answer as Answer
    from evalkit.types import Audio as Audio
    from evalkit.types import Estimate as Estimate
    from evalkit.types import Image as Image
    from evalkit.types import Message as Message
    from evalkit.types import Passage as Passage
    from evalkit.types import Progress as Progress
    from evalkit.types import Request as Request
    from evalkit.types import Requirements as Requirements
    from evalkit.types import Response as Response
    from evalkit.types import Retriever as Retriever
    from evalkit.types import Sample as Sample
    from evalkit.types import Status as Status
    from evalkit.types import Text as Text
    from evalkit.types import Video as Video


__getattr__, __dir__ = lazy_names(__name__, _WHERE)
