"""The simulated user: a second model, or a function, that talks with the model under test."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from evalkit.errors import RequestRejected, UsageError
from evalkit.model import Model
from evalkit.protocols import Described
from evalkit.types import Message
from evalkit.util.masking import excerpt

UserFunction = Callable[[Sequence[Message]], str | Awaitable[str | None] | None]
"""A function from the messages so far to the user's next one; None ends the conversation."""

STOP = "###STOP###"  # as in tau-bench (Yao et al., 2024)
_GREETING = "Hello! How can I help you?"


class SimulatedUser(Struct, frozen=True):
    """A user that another model plays, told who it is in ``system``.

    The user sees the texts of both sides with the roles changed over, and no calls of tools. A reply with the
    word ``stop`` ends the conversation, so ``system`` must say when to write it. ``sampling`` goes to
    ``Model.generate``.
    """

    model: Model
    system: str
    stop: str = STOP
    sampling: dict[str, Any] = {}

    async def say(self, messages: Sequence[Message], asked: Model) -> str | None:
        """Return the user's next message; None once the user is done. Raises ``ModelError``.

        ``asked`` is the model under test: each repeat of its sample has a user of its own.
        """
        prompt = [Message("system", self.system), *_from_the_other_side(messages)]
        response = await self.model.beside(asked).generate(prompt, **self.sampling)
        if response.finish_reason != "stop" or not response.text.strip():
            why = response.finish_reason if response.finish_reason != "stop" else "an empty reply"
            raise RequestRejected(
                f"the simulated user gave no complete reply: {why}. Give it more max_tokens, or another model"
            )
        return None if self.stop in response.text else response.text.strip()


_OTHER = {"assistant": "user", "user": "assistant"}


def _from_the_other_side(messages: Sequence[Message]) -> list[Message]:
    """Return the words of both sides as the user sees them.

    As chat templates want it, the other side begins, and no side has two messages in a row.
    """
    turns = [Message("user", _GREETING)]
    for message in messages:
        role, text = _OTHER.get(message.role), message.text.strip()
        if role is None or not text:
            continue
        if turns[-1].role == role:
            said = "" if turns == [Message("user", _GREETING)] else f"{turns[-1].text}\n\n"
            turns[-1] = Message(role, f"{said}{text}")
        else:
            turns.append(Message(role, text))
    return turns


class UserModel(Described):
    """The value of the fixture ``user_model``: the model that plays the users of a run.

    ``user_model(system)`` returns the user of one sample. Without a model (``-p user=none``) a call raises
    ``UsageError``.
    """

    def __init__(self, model: Model | None, name: str = "") -> None:
        self.model, self.name = model, name

    def __call__(self, system: str, *, stop: str = STOP, **sampling: Any) -> SimulatedUser:
        """Return a user who is told ``system``; ``sampling`` goes to ``Model.generate``."""
        if self.model is None:
            raise UsageError("the task talks with a simulated user: name its model with -p user=SPEC")
        return SimulatedUser(self.model, system, stop, sampling)

    def describe(self) -> dict[str, Any]:
        """Return the model's identity and its sampling settings, for the run's provenance."""
        if self.model is None:
            return {}
        return {"user": self.name, "identity": self.model.facts.identity, "defaults": self.model.defaults}


User = SimulatedUser | UserFunction


async def next_message(user: User, messages: Sequence[Message], asked: Model) -> Message | None:
    """Return what the user says next; None where the user ends the conversation."""
    if isinstance(user, SimulatedUser):
        said = await user.say(messages, asked)
    else:
        value = user(tuple(messages))
        said = await value if inspect.isawaitable(value) else value
        if said is not None and not isinstance(said, str):
            raise UsageError(
                f"the function that plays the user returned {excerpt(repr(said))}: it must return the user's "
                "next text, or None to end the conversation"
            )
    return None if said is None else Message("user", said)
