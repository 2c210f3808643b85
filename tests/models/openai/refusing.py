"""Servers that refuse parameters, each in its own words: functions from a body to its refusal, or None."""

from __future__ import annotations

PENALTIES = ("frequency_penalty", "presence_penalty")


def openai_error(message, param=None, code=None):
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def reasoning_model(body):
    """OpenAI and Azure, as their reasoning models answer."""
    if "max_tokens" in body:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        return openai_error(message, "max_tokens", "unsupported_parameter")
    for name in ("temperature", "top_p"):
        if body.get(name, 1) != 1:
            message = (
                f"Unsupported value: '{name}' does not support {body[name]:g} with this model. "
                "Only the default (1) value is supported."
            )
            return openai_error(message, name, "unsupported_value")
    for name in PENALTIES:
        if name in body:
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            return openai_error(message, name, "unsupported_parameter")
    return None


def strict_openai(body):
    for name in ("top_k", "min_p", "repetition_penalty"):
        if name in body:
            return openai_error(f"Unrecognized request argument supplied: {name}")
    return None


def xai(body):
    for name, theirs in (("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty")):
        if name in body:
            code = "Client specified an invalid argument"
            return 400, {"code": code, "error": f"Argument not supported on this model: {theirs}"}
    if "stop" in body:
        return 400, {"code": "400", "error": "Model grok-4 does not support parameter stop."}
    return None


def mistral(body):
    wrong = [
        {
            "type": "extra_forbidden",
            "loc": ["body", n],
            "msg": "Extra inputs are not permitted",
            "input": body[n],
        }
        for n in ("top_k", "min_p", "repetition_penalty")
        if n in body
    ]
    return (
        (422, {"object": "error", "message": {"detail": wrong}, "type": "invalid_request_error"})
        if wrong
        else None
    )


def vllm_of_old(body):
    if "min_p" in body:
        where = [
            {"type": "extra_forbidden", "loc": ("body", "min_p"), "msg": "Extra inputs are not permitted"}
        ]
        return 400, {
            "object": "error",
            "message": str(where),
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    return None


def anthropic_gateway(body):
    if "temperature" in body and "top_p" in body:
        message = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        return 400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    return None


def gemini(body):
    if "frequency_penalty" in body:
        message = 'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.'
        return 400, [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}]
    return None


def litellm(body):
    if named := [name for name in PENALTIES if name in body]:
        message = (
            f"litellm.UnsupportedParamsError: vertex_ai does not support parameters: {named}, for model=x."
        )
        return 400, {"error": {"message": message, "type": "None", "param": None, "code": "400"}}
    return None


def strict_about_stream(body):
    return (422, {"detail": "property 'stream' is unsupported"}) if "stream" in body else None


def fussy_about_values(body):
    if body.get("top_k", 1) < 1:
        return 400, {
            "error": {"message": "top_k must be at least 1, got -1", "param": "top_k", "code": "invalid"}
        }
    return None


def takes_one_temperature(body):
    """Moonshot."""
    if body.get("temperature", 1) != 1:
        return openai_error("invalid temperature: only 1 is allowed for this model")
    return None


def says(message, *names, param=None):
    """A server that refuses parameters in words that do not tell which."""
    return lambda body: openai_error(message, param) if any(name in body for name in names) else None


def a_web_page(body):
    page = "<html><head><title>400 Bad Request</title></head><body><h1>400</h1></body></html>"
    return (400, page) if "top_k" in body else None


def takes_the_new_name_only_in_words(body):
    return (400, {"error": "unexpected field max_tokens"}) if "max_tokens" in body else None


REFUSALS = {
    "a reasoning model": (reasoning_model, {"temperature", *PENALTIES}),
    "unknown to OpenAI": (strict_openai, {"top_k", "min_p", "repetition_penalty"}),
    "xAI": (xai, set(PENALTIES)),
    "Mistral": (mistral, {"top_k", "min_p", "repetition_penalty"}),
    "vLLM of old": (vllm_of_old, {"min_p"}),
    "a gateway to Anthropic": (anthropic_gateway, {"top_p"}),
    "Gemini": (gemini, {"frequency_penalty"}),
    "LiteLLM": (litellm, set(PENALTIES)),
    "stream: false": (strict_about_stream, {"stream"}),
    "a default's value": (fussy_about_values, {"top_k"}),
    "only one value": (takes_one_temperature, {"temperature"}),
    "German": (says("Der Parameter „min_p“ wird nicht unterstützt.", "min_p"), {"min_p"}),
    "Chinese, the name in a field": (says("请求参数不合法", "top_k", param="top_k"), {"top_k"}),
    "nothing but a number": (says("Invalid parameter (code 1210)", "top_k", "min_p"), {"top_k", "min_p"}),
    "the name of another parameter": (says("top_p is not supported", "min_p", param="top_p"), {"min_p"}),
    "a parameter that was not sent": (says("Unsupported parameter: 'user'", "min_p"), {"min_p"}),
    "a proxy's web page": (a_web_page, {"top_k"}),
    "the length, in Chinese": (says("参数错误", "max_tokens"), set()),
    "nothing but the length": (takes_the_new_name_only_in_words, set()),
}
