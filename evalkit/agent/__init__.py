"""Models that call tools, and conversations of several turns.

    @tool
    async def search(query: Annotated[str, "words to look for"], k: int = 3) -> str:
        '''Search the library.'''
        ...

    conversation = await converse(model, sample.input, tools=[search], max_turns=8)
    return conversation.answer()

function_tool.py  ``@tool``: a typed function as a tool, with the schema of its arguments
loop.py           ``converse``: the model's turns, the tools that it calls, the user's turns
conversation.py   the result: messages, calls with results and errors, why it ended
user.py           the simulated user: a second model, or a function
"""

from __future__ import annotations

from evalkit.agent.conversation import CalledTool as CalledTool
from evalkit.agent.conversation import Conversation as Conversation
from evalkit.agent.function_tool import Done as Done
from evalkit.agent.function_tool import FunctionTool as FunctionTool
from evalkit.agent.function_tool import tool as tool
from evalkit.agent.loop import converse as converse
from evalkit.agent.user import SimulatedUser as SimulatedUser
from evalkit.agent.user import UserModel as UserModel

__all__ = [
    "CalledTool",
    "Conversation",
    "Done",
    "FunctionTool",
    "SimulatedUser",
    "UserModel",
    "converse",
    "tool",
]
