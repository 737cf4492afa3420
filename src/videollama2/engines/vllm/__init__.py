"""VideoLLaMA 2 in vLLM: the plugin that teaches it, and our own way in and out of it.

What is built on, read in vLLM 0.32:

- an entry point of group `vllm.general_plugins` is called in every process of vLLM's;
- a model class of another package is registered by its architecture's name and derives from
  `SupportsMultiModal`; `init_vllm_registered_model` builds vLLM's own language model inside it;
- `register_processor` binds a model class to how its media are parsed, prepared and counted;
- a tokenizer mode names a tokenizer and a renderer (messages -> token ids), and a load format a
  model loader; `MODELS_CONFIG_MAP` chooses both by architecture.
"""
