"""The evaluation room: a benchmark's files and a model in, scores with error bars out."""
