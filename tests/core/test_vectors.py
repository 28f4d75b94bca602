"""The shared vectors are what other libraries compute today, so that no edit of a file can go unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vectors import generate


@pytest.mark.parametrize("name", generate.VECTORS)
def test_the_tracked_file_is_what_the_independent_libraries_give(name: str) -> None:
    assert (generate.FOLDER / f"{name}.json").read_text() == generate.text_of(name)


def test_no_vector_is_made_by_the_code_that_it_is_for() -> None:
    assert "import fedchain" not in Path(generate.__file__).read_text()
    assert "from fedchain" not in Path(generate.__file__).read_text()
