"""What the tiny models of ``make_models`` and ``make_thinker`` are taught, and what tests expect of them."""

SYSTEM = "You are a tiny test model."
STORY = "Once upon a time a small model answered every question it was asked, and then it stopped."
QUESTIONS = [
    ("What is the capital of France?", "Paris"),
    ("What is the capital of Italy?", "Rome"),
    ("What is the capital of Japan?", "Tokyo"),
    ("What is 2+2?", "4"),
    ("What is 3+5?", "8"),
    ("What is 7+6?", "13"),
    ("Is water wet? Answer yes or no.", "yes"),
    ("Is fire cold? Answer yes or no.", "no"),
    ("Say hello.", "Hello there, how are you today?"),
    ("Count to ten.", "1 2 3 4 5 6 7 8 9 10"),
    ("Give JSON.", '{"answer": 4}'),
    ("Give JSON with ok.", '{"answer": 4, "ok": true}'),
    ("Tell me a story.", STORY),
]
IMAGE_QUESTION = "What colour is the image?"
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "black": (5, 5, 5),
    "white": (250, 250, 250),
    "yellow": (240, 230, 30),
}
# How far the model that thinks counts before it answers, by the effort that its chat template is told.
COUNTS = {"": 60, "low": 20, "medium": 60, "high": 90}
CITIES, WEATHERS = ("Paris", "Rome", "Tokyo"), ("cold", "warm", "hot")  # what it asks a tool for, and tells
TWO_CITIES = ("Paris", "Rome")  # which it asks for at once
