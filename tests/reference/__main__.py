"""Write the pages of docs/reference/: `make docs`."""

from __future__ import annotations

from reference import FOLDER, pages


def main() -> None:
    """Write every page, and remove those that no module makes any more."""
    made = pages()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
