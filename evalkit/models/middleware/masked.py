"""The masking layer: a reply that repeats a secret of this process (an API key) goes no further with it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from evalkit.models.middleware import call_stats
from evalkit.models.middleware.layer import Layer
from evalkit.requests import encoded
from evalkit.types import Request, Response, ToolCall
from evalkit.util.masking import mask, mask_value, secrets_in


class Masked(Layer):
    """Masks secrets in replies and counts these replies by the name of the secret."""

    async def send(self, request: Request) -> Response:
        """Return the response without secrets."""
        response = await self.inner.send(request)
        texts = (response.text, response.reasoning, response.model, *response.notes)
        if response.tool_calls:
            texts = (*texts, encoded([response.tool_calls, response.native]).decode())
        if not (found := secrets_in(*texts)):
            return response
        call_stats.current.get().secrets.update(found)
        text, reasoning, model = map(mask, texts[:3])
        calls = msgspec.convert(mask_value(msgspec.to_builtins(response.tool_calls)), tuple[ToolCall, ...])
        return replace(
            response,
            text=text,
            reasoning=reasoning,
            model=model,
            notes=tuple(map(mask, response.notes)),
            tool_calls=calls,
            native=mask_value(msgspec.to_builtins(response.native)),
        )
