"""lm-eval: its tasks, models and result files in evalkit, and evalkit's models in lm-eval.

    catalog.py         lm-eval's index: the tasks of a name or pattern; task_index.py keeps the index on disk
    tasks.py           lm-eval's tasks as evalkit tasks, ``evalkit run lm_eval/NAME``: parameters, samples,
    answer suite.py           lm-eval's documents as samples, its requests as requests to a model scores.py
    lm-eval's filters, metrics and aggregation over the answers; metrics.py has the metrics pictures.py
    the pictures of a document; plain.py: lm-eval's objects as plain values ask.py             one request of
    lm-eval, sent to an evalkit model backend.py         lm-eval's models as evalkit models: ``--model
    lm_eval:hf?pretrained=PATH`` lm.py              an evalkit model as a model of lm-eval: ``evalkit lm-eval
    --model evalkit`` import_results.py  lm-eval's result files as runs; export_results.py: runs as lm-eval's
    result files

lm-eval itself is imported only when it is used.
"""

PREFIX = "lm_eval/"
