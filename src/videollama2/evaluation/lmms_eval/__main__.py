"""`python -m videollama2.evaluation.lmms_eval` says where the task files lie."""

import sys

from videollama2.evaluation.lmms_eval import TASKS

sys.stdout.write(f"{TASKS}\n")
