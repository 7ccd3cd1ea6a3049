"""The tracking database of the benchmark, in small."""

from __future__ import annotations

from pathlib import Path

from bench.tracked import ask, fill
from mxseal.storage.tracking.file import TrackingFile
from mxseal.storage.tracking.values import Query


def test_each_question_is_answered_and_a_copied_segment_holds_messages_of_its_own(tmp_path: Path) -> None:
    fill(tmp_path, 600, 200)
    answers = {answer.title: answer for answer in ask(tmp_path)}
    assert answers["a MID"].found == 1
    assert answers["a recipient that there is not"].found == 0
    assert answers["the newest"].found == 50
    assert answers["two words of the subject"].found >= 3
    file = TrackingFile(tmp_path)
    assert file.status().messages == 600
    page = file.search(Query(), 600)
    assert [found.mid for found in page.messages] == list(range(600, 0, -1))
    assert [found.at for found in page.messages] == sorted((f.at for f in page.messages), reverse=True)
    story = file.story(450)
    assert story is not None
    assert story.recipients
    file.close()
