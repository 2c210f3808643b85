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
from evalkit.util.moved import former_names, install
from evalkit.util.version import VERSION as __version__

_WHERE = {
    "Answer": "evalkit.types",
    "answer_choice": "evalkit.choice.asking",
    "Arm": "evalkit.rag.arms",
    "Audio": "evalkit.types",
    "cited": "evalkit.rag.prompts",
    "Conversation": "evalkit.agent",
    "converse": "evalkit.agent",
    "CorpusError": "evalkit.errors",
    "Done": "evalkit.agent",
    "Estimate": "evalkit.types",
    "EvalkitError": "evalkit.errors",
    "Evidence": "evalkit.rag.arms",
    "evidence": "evalkit.rag.arms",
    "file_rows": "evalkit.data.files",
    "fixture": "evalkit.task",
    "hub_rows": "evalkit.data.hub",
    "Image": "evalkit.types",
    "image_arms": "evalkit.media",
    "ImageArm": "evalkit.media",
    "in_arm": "evalkit.media",
    "Info": "evalkit.task",
    "interleaved": "evalkit.media",
    "lettered": "evalkit.choice.asking",
    "Message": "evalkit.types",
    "Metric": "evalkit.metric",
    "Model": "evalkit.model",
    "numbered": "evalkit.rag.prompts",
    "only": "evalkit.metric",
    "open_images": "evalkit.media",
    "parametrize": "evalkit.task",
    "Passage": "evalkit.types",
    "Progress": "evalkit.types",
    "Rag": "evalkit.rag.answering",
    "rag_arms": "evalkit.rag.arms",
    "Request": "evalkit.types",
    "Requirements": "evalkit.types",
    "Response": "evalkit.types",
    "Retriever": "evalkit.protocols",
    "Review": "evalkit.judge.review",
    "Sample": "evalkit.types",
    "SetupError": "evalkit.errors",
    "SimulatedUser": "evalkit.agent",
    "skip": "evalkit.task",
    "skipif": "evalkit.task",
    "Status": "evalkit.types",
    "Text": "evalkit.types",
    "tool": "evalkit.agent",
    "Tool": "evalkit.types",
    "ToolCall": "evalkit.types",
    "UsageError": "evalkit.errors",
    "UserModel": "evalkit.agent",
    "Value": "evalkit.task",
    "Video": "evalkit.types",
    "xfail": "evalkit.task",
}

__all__ = ["__version__", "metric", "task", *_WHERE]

if TYPE_CHECKING:
    from evalkit.agent import Conversation as Conversation
    from evalkit.agent import Done as Done
    from evalkit.agent import SimulatedUser as SimulatedUser
    from evalkit.agent import UserModel as UserModel
    from evalkit.agent import converse as converse
    from evalkit.agent import tool as tool
    from evalkit.choice.asking import answer_choice as answer_choice
    from evalkit.choice.asking import lettered as lettered
    from evalkit.data.files import file_rows as file_rows
    from evalkit.data.hub import hub_rows as hub_rows
    from evalkit.errors import CorpusError as CorpusError
    from evalkit.errors import EvalkitError as EvalkitError
    from evalkit.errors import SetupError as SetupError
    from evalkit.errors import UsageError as UsageError
    from evalkit.judge.review import Review as Review
    from evalkit.media import ImageArm as ImageArm
    from evalkit.media import image_arms as image_arms
    from evalkit.media import in_arm as in_arm
    from evalkit.media import interleaved as interleaved
    from evalkit.media import open_images as open_images
    from evalkit.metric import Metric as Metric
    from evalkit.metric import only as only
    from evalkit.model import Model as Model
    from evalkit.protocols import Retriever as Retriever
    from evalkit.rag.answering import Rag as Rag
    from evalkit.rag.arms import Arm as Arm
    from evalkit.rag.arms import Evidence as Evidence
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
    from evalkit.types import Sample as Sample
    from evalkit.types import Status as Status
    from evalkit.types import Text as Text
    from evalkit.types import Tool as Tool
    from evalkit.types import ToolCall as ToolCall
    from evalkit.types import Video as Video


__getattr__, __dir__ = lazy_names(__name__, _WHERE, former_names(__name__))
install()
