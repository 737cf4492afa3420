"""VideoLLaMA 2: watch a clip, hear it, answer questions about it."""
