"""Our models and four benchmarks in lmms-eval.

What is built on, read in lmms-eval 0.7.3:

- models of other packages are found through the entry points of group `lmms_eval.models`, each a
  `ModelManifest(model_id, simple_class_path, chat_class_path, aliases)` or what returns one
  (`models/registry_v2.py`); a chat class derives from `api.model.lmms`, with `is_simple = False`;
- a chat request's arguments are (context, doc_to_messages, generation settings, document's place,
  task, split); `doc_to_messages(task_dict[task][split][place])` gives messages whose content blocks
  are text (`text`) or a medium (`url`, a video's `start_time` and `end_time`) (`protocol.py`);
- task files are found under `--include_path`; `!function` takes a whole module's name
  (`utils.py`, `tasks/__init__.py`).
"""

from pathlib import Path

TASKS = Path(__file__).parent / "tasks"
"""What `--include_path` takes."""
