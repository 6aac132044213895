"""What is asked: the prompts' files, and texts put into them so that no text can change the question.

A prompt is two parts, what the system says and what the user says, with a line `---` between. `{{ name }}` stands for a
value. Texts go in as JSON, between two lines that are derived from the texts and so cannot stand in them; and without
the signs by which chat models tell apart who speaks (`<|im_start|>`, `[INST]`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gluscope.core.errors import ConfigError

SHIPPED = Path(__file__).parent / "prompts"
NAMES = ("explain", "detect", "fuzz")
_NEEDED = {"explain": {"texts"}, "detect": {"texts", "explanation"}, "fuzz": {"texts", "explanation"}}
_KNOWN = {"fence", "texts", "count", "explanation"}
_BETWEEN = re.compile(r"^---\s*$", re.M)
_VALUE = re.compile(r"\{\{ *(\w+) *\}\}")
_SPEAKER = re.compile(r"<|\[(?=/?[A-Z_]{3,}\])")

Message = dict[str, str]


@dataclass(frozen=True)
class Prompt:
    """One prompt. system, user: with `{{ name }}` for values. version: half of the digits of its file's sha256."""

    name: str
    system: str
    user: str
    version: str

    @classmethod
    def read(cls, path: Path) -> Prompt:
        """Raises ConfigError for a file that cannot be used."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            found = f"{type(error).__name__}"
            raise ConfigError(str(path), "a prompt, text in UTF-8", found, "correct the file") from error
        parts, values = _BETWEEN.split(text), set(_VALUE.findall(text))
        if len(parts) != 2:
            expected, step = "two parts with a line --- between", "put what the system says above it"
            raise ConfigError(str(path), expected, f"{len(parts)}", step)
        known = _KNOWN if path.stem != "explain" else _KNOWN - {"explanation"}
        if wrong := sorted(values - known) + sorted(_NEEDED[path.stem] - values):
            expected = (
                f"{', '.join(f'{{{{ {name} }}}}' for name in sorted(_NEEDED[path.stem]))} and of others only known ones"
            )
            raise ConfigError(
                str(path), expected, f"{wrong[0]!r} unknown or left out", "compare with the shipped prompt"
            )
        system, user = (part.strip() for part in parts)
        return cls(path.stem, system, user, hashlib.sha256(text.encode()).hexdigest()[:8])

    def messages(self, texts: Sequence[Mapping[str, Any]], explanation: str = "") -> list[Message]:
        """What to send. texts: plain values, JSON in the prompt."""
        listed = ",\n".join(_json(text) for text in texts)
        quoted = _json(explanation)
        values = {
            "texts": f"[{listed}]",
            "count": str(len(texts)),
            "explanation": quoted,
            "fence": f"=== {hashlib.sha256((quoted + listed).encode()).hexdigest()[:16]} ===",
        }
        parts = [_VALUE.sub(lambda found: values[found[1]], part) for part in (self.system, self.user)]
        return [{"role": role, "content": part} for role, part in zip(("system", "user"), parts, strict=True)]


def prompt_files(folder: str | None) -> dict[str, Path]:
    """The file of each prompt: the user's where their folder has one, else the shipped one.

    Raises ConfigError for a folder that has none.
    """
    own = {name: Path(folder) / f"{name}.md" for name in NAMES} if folder else {}
    there = {name: path for name, path in own.items() if path.is_file()}
    if folder and not there:
        expected, step = f"one of {', '.join(f'{name}.md' for name in NAMES)}", "copy one there and change it"
        raise ConfigError(folder, expected, "none", f"{step}; the shipped ones lie in {SHIPPED}")
    return {name: SHIPPED / f"{name}.md" for name in NAMES} | there


def read_prompts(folder: str | None) -> dict[str, Prompt]:
    """All prompts by name."""
    return {name: Prompt.read(path) for name, path in prompt_files(folder).items()}


def _json(value: Any) -> str:
    """JSON on one line in which no text speaks for anybody."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return _SPEAKER.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
