"""The rule of OCR rewards, against its definition and the reference that the C++ scorer is held to."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

from flowawr_reward.spelling import normalise, spelling_reward, why_no_target


@pytest.mark.parametrize(
    ("target", "text", "reward", "exact"),
    [
        ("CAT", "cat", 1, True),
        ("CAT", "C A\nT", 1, True),
        ("CAT", "a cat!", 1, False),
        ("CAT", "CUT", 2 / 3, False),
        ("CAT", "", 0, False),
        ("CAT", "dog" * 2000, 0, False),
        ("é", "e\u0301", 1, True),
        ("straße", "STRASSE", 1, True),
        ("ﬁ", "fi\u200b\u00ad\ufeff", 1, True),
        ("ＣＡＴ", "cat", 1, True),
    ],
)
def test_rewards_what_was_read(target, text, reward, exact):
    found, details = spelling_reward(text, "", {"target": target})
    assert found == pytest.approx(reward)
    assert details["exact"] is exact and details["text"] == text and details["target"] == target


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ('a sign that says "CAT" and "DOG"', "cat"),
        ("a sign that says “CAT”", "cat"),
        ("a sign that says „CAT“", "cat"),
        ("a sign that says „CAT”", "cat"),
        ('12" of “CAT”', "cat"),
    ],
)
def test_the_target_is_the_first_quoted_text(prompt, target):
    assert why_no_target(prompt, {}) is None
    assert normalise(str(spelling_reward("x", prompt, {})[1]["target"])) == target
    assert spelling_reward("DOG", prompt, {"target": "dog"})[0] == 1


@pytest.mark.parametrize(
    ("prompt", "metadata", "message"),
    [
        ("a dog", {}, "no double-quoted text"),
        ('a 12" ruler', {}, "no double-quoted text"),
        ('an "" sign', {}, "is empty"),
        ("a sign", {"target": " \u200b"}, "is empty"),
        ("a sign", {"target": "x" * 5000}, "at most 4096"),
    ],
)
def test_what_has_no_target_is_told(prompt, metadata, message):
    assert message in (why_no_target(prompt, metadata) or "")
    with pytest.raises(ValueError, match=message):
        spelling_reward("x", prompt, metadata)


def test_agrees_with_the_reference_of_the_cpp_scorer(tmp_path):
    reference = ROOT / "tests/reward_server/scorers/ocr_reward_reference.py"
    subprocess.run([sys.executable, reference, tmp_path / "cases"], check=True)
    cases = json.loads((tmp_path / "cases").read_text())
    assert len(cases) >= 100
    for case in cases:
        reward, details = spelling_reward(case["text"], "", {"target": case["target"]})
        assert reward == pytest.approx(case["reward"]), case
        if reward > 0:  # else what was read may have been cut
            assert details["distance"] == case["distance"], case
