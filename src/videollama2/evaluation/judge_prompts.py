"""What judges are asked, word for word as the published figures were judged.

Source: the released `eval/eval_video_oqa_*.py`, `eval_video_cap_msvc_*.py`, `eval_audio_clotho.py`
and `eval_audio_video_AV*SD.py` (Apache-2.0), which follow the evaluation scripts of Video-ChatGPT;
their slips (a doubled quote, 4.8 as an integer) belong to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from videollama2.evaluation.task import JudgePrompt, Question

_SYNONYMS = "Consider synonyms or paraphrases as valid matches"
_ENDING = (
    "DO NOT PROVIDE ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the Python dictionary "
    "string. For example, your response should look like this: "
)


@dataclass(frozen=True)
class Aspect:
    """One aspect of an answer that is judged from 0 to 5.

    `subject` is what the judge is there for, `duty` what it compares, `points` how; `score` and
    `highest` are the words for its score and for a 5; `the_score` as the reply's key is explained.
    `pair` is what is shown, `example` a reply.
    """

    subject: str
    duty: str
    points: tuple[str, ...]
    score: str
    highest: str
    the_score: str
    pair: str = "video-based question-answer pair"
    example: str = "{''score': 4.8}"

    @property
    def system(self) -> str:
        """The system message."""
        return system(self.subject, self.duty, self.points)

    @property
    def demand(self) -> str:
        """The end of the user message."""
        return (
            f"Provide your evaluation only as a {self.score} where the {self.score} is an integer "
            f"value between 0 and 5, with 5 indicating the highest level of {self.highest}. Please "
            "generate the response in the form of a Python dictionary string with keys 'score', "
            f"where its value is {self.the_score} in INTEGER, not STRING.{_ENDING}{self.example}."
        )

    def ask(self, question: Question, answers: Sequence[str]) -> JudgePrompt:
        """The messages about one answer to `details["question"]`, against the first reference."""
        return self._ask(question, f"Correct Answer: {question.references[0]}", answers)

    def ask_of(self, number: int, question: Question, answers: Sequence[str]) -> JudgePrompt:
        """The same against the reference of this number, from 0."""
        return self._ask(question, f"Correct Answer: {question.references[number]}", answers)

    def ask_of_all(self, question: Question, answers: Sequence[str]) -> JudgePrompt:
        """The same against all references at once, as the released script prints the list."""
        return self._ask(question, f"Correct Answers: {list(question.references)}", answers)

    def _ask(self, question: Question, right: str, answers: Sequence[str]) -> JudgePrompt:
        asked = f"Question: {question.details['question']}"
        lines = (asked, right, f"Predicted Answer: {answers[0]}")
        return JudgePrompt(self.system, user(self.pair, lines, self.demand))


def system(subject: str, duty: str, points: Sequence[str]) -> str:
    """A released system message."""
    bullets = "\n".join(f"- {point}" for point in points)
    return (
        f"You are an intelligent chatbot designed for evaluating {subject}. {duty} Here's how you "
        f"can accomplish the task:------##INSTRUCTIONS: {bullets}"
    )


def user(pair: str, lines: Sequence[str], demand: str) -> str:
    """A released user message."""
    listed = "\n".join(lines)
    return f"Please evaluate the following {pair}:\n\n{listed}\n\n{demand}"


_OF_PAIRS = "generative outputs for video-based question-answer pairs"
_COMPARE = "Your task is to compare the predicted answer with the correct answer and determine"

CORRECTNESS = Aspect(
    f"the factual accuracy of {_OF_PAIRS}",
    f"{_COMPARE} if they are factually consistent.",
    (
        "Focus on the factual consistency between the predicted answer and the correct answer. "
        "The predicted answer should not contain any misinterpretations or misinformation.",
        "The predicted answer must be factually accurate and align with the video content.",
        f"{_SYNONYMS}.",
        "Evaluate the factual accuracy of the prediction compared to the answer.",
    ),
    "factual accuracy score",
    "factual consistency",
    "the factual accuracy score",
)
DETAIL = Aspect(
    f"the detail orientation of {_OF_PAIRS}",
    f"{_COMPARE} its level of detail, considering both completeness and specificity.",
    (
        "Check if the predicted answer covers all major points from the video. The response should "
        "not leave out any key aspects.",
        "Evaluate whether the predicted answer includes specific details rather than just generic "
        "points. It should provide comprehensive information that is tied to specific elements of "
        "the video.",
        f"{_SYNONYMS}.",
        "Provide a single evaluation score that reflects the level of detail orientation of the "
        "prediction, considering both completeness and specificity.",
    ),
    "detail orientation score",
    "detail orientation",
    "the detail orientation score",
)
_OF_CAPTIONS = ("the correct answer and", "these correct answers and")
CAPTION_CORRECTNESS, CAPTION_DETAIL = (
    replace(aspect, duty=aspect.duty.replace(*_OF_CAPTIONS)) for aspect in (CORRECTNESS, DETAIL)
)
"""MSVC: one answer against several captions."""
_EXAMPLE_OF_SOUND = "{'score': 4.8}"
SOUND_CORRECTNESS = replace(
    CORRECTNESS,
    subject=CORRECTNESS.subject.replace("video-based", "audio-based"),
    points=tuple(point.replace("video content", "audio content") for point in CORRECTNESS.points),
    pair="audio-based question-answer pair",
    example=_EXAMPLE_OF_SOUND,
)
SOUND_DETAIL = replace(DETAIL, example=_EXAMPLE_OF_SOUND)
"""Clotho: the released text speaks of videos here, of sounds in the other."""
CONTEXT = Aspect(
    f"the contextual understanding of {_OF_PAIRS}",
    f"{_COMPARE} if the generated response aligns with the overall context of the video content.",
    (
        "Evaluate whether the predicted answer aligns with the overall context of the video "
        "content. It should not provide information that is out of context or misaligned.",
        "The predicted answer must capture the main themes and sentiments of the video.",
        f"{_SYNONYMS}.",
        "Provide your evaluation of the contextual understanding of the prediction compared to the "
        "answer.",
    ),
    "contextual understanding score",
    "contextual understanding",
    "contextual understanding score",
)
TEMPORAL = Aspect(
    f"the temporal understanding of {_OF_PAIRS}",
    f"{_COMPARE} if they correctly reflect the temporal sequence of events in the video content.",
    (
        "Focus on the temporal consistency between the predicted answer and the correct answer. "
        "The predicted answer should correctly reflect the sequence of events or details as they "
        "are presented in the video content.",
        f"{_SYNONYMS}, but only if the temporal order is maintained.",
        "Evaluate the temporal accuracy of the prediction compared to the answer.",
    ),
    "temporal accuracy score",
    "temporal consistency",
    "the temporal accuracy score",
)
CONSISTENCY = Aspect(
    "the consistency of generative outputs for similar video-based question-answer pairs",
    "You will be given two very similar questions, a common answer common to both the questions "
    "and predicted answers for the two questions .Your task is to compare the predicted answers "
    "for two very similar question, with a common correct answer and determine if they are "
    "consistent.",
    (
        "Focus on the consistency between the two predicted answers and the correct answer. Both "
        "predicted answers should correspond to the correct answer and to each other, and should "
        "not contain any contradictions or significant differences in the conveyed information.",
        "Both predicted answers must be consistent with each other and the correct answer, in "
        "terms of the information they provide about the video content.",
        f"{_SYNONYMS}, but only if they maintain the consistency in the conveyed information.",
        "Evaluate the consistency of the two predicted answers compared to the correct answer.",
    ),
    "consistency score",
    "consistency",
    "the consistency score",
)


def ask_consistency(question: Question, answers: Sequence[str]) -> JudgePrompt:
    """The messages about two answers to `question.prompts`, which mean the same."""
    lines = (
        f"Question 1: {question.prompts[0]}",
        f"Question 2: {question.prompts[1]}",
        f"Correct Answer: {question.references[0]}",
        f"Predicted Answer to Question 1: {answers[0]}",
        f"Predicted Answer to Question 2: {answers[1]}",
    )
    return JudgePrompt(CONSISTENCY.system, user(CONSISTENCY.pair, lines, CONSISTENCY.demand))


def ask_match(question: Question, answers: Sequence[str]) -> JudgePrompt:
    """Whether an answer means the right one: yes or no, and how much (ActivityNet-QA, MSVD-QA)."""
    return _ask_match(question, answers, "pred", "4.8")


def ask_binary_match(question: Question, answers: Sequence[str]) -> JudgePrompt:
    """The same with the key binary_pred (AVSD, VGGSound)."""
    return _ask_match(question, answers, "binary_pred", "4")


def _ask_match(question: Question, answers: Sequence[str], key: str, example: str) -> JudgePrompt:
    points = (
        "Focus on the meaningful match between the predicted answer and the correct answer.",
        f"{_SYNONYMS}.",
        "Evaluate the correctness of the prediction compared to the answer.",
    )
    lines = (
        f"Question: {question.details['question']}",
        f"Correct Answer: {question.references[0]}",
        f"Predicted Answer: {answers[0]}",
    )
    demand = (
        "Provide your evaluation only as a yes/no and score where the score is an integer value "
        "between 0 and 5, with 5 indicating the highest meaningful match. Please generate the "
        f"response in the form of a Python dictionary string with keys '{key}' and 'score', where "
        f"value of '{key}' is  a string of 'yes' or 'no' and value of 'score' is in INTEGER, not "
        f"STRING.{_ENDING}{{'{key}': 'yes', 'score': {example}}}."
    )
    duty = f"{_COMPARE} if they match meaningfully."
    subject = "the correctness of generative outputs for question-answer pairs"
    return JudgePrompt(
        system(subject, duty, points),
        user("video-based question-answer pair", lines, demand),
    )
