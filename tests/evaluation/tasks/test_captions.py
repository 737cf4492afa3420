"""MSVC and Clotho: low temperature, seeded; judges asked as the released scripts ask."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import miniatures
from stubs import StubAnswerer

from videollama2.evaluation.registry import find
from videollama2.evaluation.replies import Reply
from videollama2.evaluation.run import Choice, answer, read_questions
from videollama2.evaluation.samples import score
from videollama2.evaluation.verdicts import Verdict

RULES = (
    "------##INSTRUCTIONS: - Focus on the factual consistency between the predicted answer and the "
    "correct answer. The predicted answer should not contain any misinterpretations or "
    "misinformation.\n- The predicted answer must be factually accurate and align with the {} "
    "content.\n- Consider synonyms or paraphrases as valid matches.\n- Evaluate the factual "
    "accuracy of the prediction compared to the answer."
)
DEMAND = (
    "Provide your evaluation only as a factual accuracy score where the factual accuracy score is "
    "an integer value between 0 and 5, with 5 indicating the highest level of factual consistency. "
    "Please generate the response in the form of a Python dictionary string with keys 'score', "
    "where its value is the factual accuracy score in INTEGER, not STRING.DO NOT PROVIDE ANY OTHER "
    "OUTPUT TEXT OR EXPLANATION. Only provide the Python dictionary string. For example, your "
    "response should look like this: "
)


def first(name: str, tmp_path: Path):
    task = find(name)
    return task, read_questions(task, miniatures()[name].lay_out(tmp_path, task.folder), Choice())[
        0
    ]


def test_msvc_is_judged_against_all_captions_at_once(tmp_path: Path) -> None:
    task, question = first("msvc", tmp_path)
    correctness, detail = (one.prompt(question, ["a cat"]) for one in task.judgements)
    assert correctness.system == (
        "You are an intelligent chatbot designed for evaluating the factual accuracy of generative "
        "outputs for video-based question-answer pairs. Your task is to compare the predicted "
        "answer with these correct answers and determine if they are factually consistent. Here's "
        "how you can accomplish the task:" + RULES.format("video")
    )
    assert correctness.user == (
        "Please evaluate the following video-based question-answer pair:\n\n"
        "Question: Describe the video in detail.\n"
        "Correct Answers: ['a cat sleeps', 'ein Kätzchen \"träumt\"', \"it's a cat\"]\n"
        "Predicted Answer: a cat\n\n" + DEMAND + "{''score': 4.8}."
    )
    assert "with these correct answers and determine its level of detail" in detail.system
    assert "Correct Answers: [" in detail.user
    assert detail.user.endswith("this: {''score': 4.8}.")


def test_clotho_is_judged_against_each_caption(tmp_path: Path) -> None:
    task, question = first("clotho", tmp_path)
    assert question.prompts == ("Describe the audio.",)
    prompts = {one.name: one.prompt(question, ["rain"]) for one in task.judgements}
    assert len(prompts) == 10
    second = prompts["correctness 2"]
    assert second.system == (
        "You are an intelligent chatbot designed for evaluating the factual accuracy of generative "
        "outputs for audio-based question-answer pairs. Your task is to compare the predicted "
        "answer with the correct answer and determine if they are factually consistent. Here's "
        "how you can accomplish the task:" + RULES.format("audio")
    )
    assert second.user == (
        "Please evaluate the following audio-based question-answer pair:\n\n"
        "Question: Describe the audio.\nCorrect Answer: Rain, softly\nPredicted Answer: rain\n\n"
        + DEMAND
        + "{'score': 4.8}."
    )
    assert 'Correct Answer: Drops "fall"\n' in prompts["detail 3"].user
    assert "video-based" in prompts["detail 3"].system  # the released text, as it is
    assert prompts["detail 3"].user.endswith("this: {'score': 4.8}.")


def test_the_mean_over_five_captions_waits_for_all(tmp_path: Path) -> None:
    task, question = first("clotho", tmp_path)
    reply = Reply(question.id, question.prompts, ("rain",))
    scores = [5, 4, 4, 2, 1]
    verdicts = {f"correctness {n}": Verdict("", value) for n, value in enumerate(scores, 1)}
    sample = score(task, question, reply, verdicts)
    assert sample.marks.released.scores == {"correctness": pytest.approx(3.2)}
    assert sample.pending == ("detail",) * 5
    failed = verdicts | {"correctness 5": Verdict("", failure="no number")}
    assert score(task, question, reply, failed).marks.strict.scores["correctness"] == 3.75


@pytest.mark.parametrize("name", ["msvc", "clotho"])
def test_captions_are_sampled_low_and_seeded(name: str, tmp_path: Path) -> None:
    task = find(name)
    data = miniatures()[name].lay_out(tmp_path, task.folder)
    choice = Choice()
    answerer = StubAnswerer(lambda question: ["x"] * len(question.prompts))
    answer(read_questions(task, data, choice), answerer, choice.decoding(task), tmp_path / "out")
    assert answerer.decoding is not None
    assert (answerer.decoding.temperature, answerer.decoding.top_p) == (0.2, 0.9)
    assert answerer.decoding.seed is not None


@pytest.mark.parametrize("name", ["avsd", "vggsound"])
def test_binary_match(name: str, tmp_path: Path) -> None:
    task, question = first(name, tmp_path)
    (judgement,) = task.judgements
    prompt = judgement.prompt(question, ["a dog"])
    assert prompt.system.startswith(
        "You are an intelligent chatbot designed for evaluating the correctness of generative "
        "outputs for question-answer pairs. Your task is to compare the predicted answer with the "
        "correct answer and determine if they match meaningfully. Here's how"
    )
    assert prompt.user == (
        "Please evaluate the following video-based question-answer pair:\n\n"
        f"Question: {question.prompts[0]}\nCorrect Answer: {question.references[0]}\n"
        "Predicted Answer: a dog\n\n"
        "Provide your evaluation only as a yes/no and score where the score is an integer value "
        "between 0 and 5, with 5 indicating the highest meaningful match. Please generate the "
        "response in the form of a Python dictionary string with keys 'binary_pred' and 'score', "
        "where value of 'binary_pred' is  a string of 'yes' or 'no' and value of 'score' is in "
        "INTEGER, not STRING.DO NOT PROVIDE ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the "
        "Python dictionary string. For example, your response should look like this: "
        "{'binary_pred': 'yes', 'score': 4}."
    )
