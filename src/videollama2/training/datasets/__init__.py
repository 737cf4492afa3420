"""The paper's data sets: each one's published annotation form, turned into our records.

One short file a data set; `registry` finds them all, `prepare` writes records.
Nothing here needs a model: neither torch nor transformers is imported.
"""
