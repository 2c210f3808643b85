"""lm-eval and evalkit, each inside the other.

    catalog.py   lm-eval's index: which tasks a name or pattern stands for
    task.py      lm-eval's tasks as evalkit tasks, ``evalkit run lm_eval/NAME``: parameters, samples, answer
    suite.py     lm-eval's documents as samples, its requests as questions
    scores.py    its filters, metrics and aggregation over the answers
    pictures.py  the pictures of a document
    ask.py       one request of lm-eval, asked of an evalkit model
    lm.py        an evalkit model as a model of lm-eval: ``evalkit lm-eval --model evalkit``

lm-eval is imported when one of its names is asked for, never before.
"""

PREFIX = "lm_eval/"
