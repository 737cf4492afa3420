"""Every layout a VideoLLaMA 2 checkpoint comes in: read, written, converted.

`layouts`, `names` and `towers` are plain dicts and strings and lie below the model; `load` and
`export` lie above it. Nothing is imported here, so that the model may import the lower half.
"""
