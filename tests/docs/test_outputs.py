"""docs/outputs.md says what the schema says."""

from helpers.outputs_table import PAGE, filled


def test_tables_are_the_schema() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == filled(text), "PYTHONPATH=scripts:tests python -m helpers.outputs_table writes them anew"
