"""Opens files in Labelme's own reader and window, prints what these hold, and saves them where asked to.

Run in a process of its own: the Qt of OpenCV's wheels gets in the way of Labelme's. For versions 4 to 7.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def first_of(*names: str) -> Any:
    """Import the first module that there is."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
    raise ModuleNotFoundError(names[0])


def read(path: str) -> list[Any]:
    """Labels, types and groups of a file's shapes, as Labelme's reader gives them."""
    module = first_of("labelme._label_file", "labelme.label_file")
    whole = module.read_label_file(path) if hasattr(module, "read_label_file") else module.LabelFile(path)
    return [[s["label"], s["shape_type"], s["group_id"]] for s in whole.shapes]


class Window:
    """Labelme's window, on no screen."""

    def __init__(self) -> None:
        module = first_of("labelme._app", "labelme.app")
        self._application = module.QtWidgets.QApplication(sys.argv[:1])
        try:
            self._window = module.MainWindow(config_overrides={"auto_save": False})
        except TypeError:
            config = first_of("labelme.config").get_config()
            self._window = module.MainWindow(config=config)

        def refuse(title: str, message: str) -> None:
            raise RuntimeError(f"{title}: {message}")

        # Dialogs would wait for someone to close them.
        self._window.show_error_message = self._window.errorMessage = refuse

    def open(self, path: str) -> list[Any]:
        """Open a file; labels, types and groups of what is on the canvas."""
        load = getattr(self._window, "_load_file", None) or self._window.loadFile
        load(path)
        widgets = getattr(self._window, "_canvas_widgets", self._window)
        found = [[s.label, s.shape_type, s.group_id] for s in widgets.canvas.shapes]
        self._window.grab()
        return found

    def save(self, path: str) -> None:
        """Save what is open as another file."""
        save = getattr(self._window, "save_labels", None) or self._window.saveLabels
        if not save(path):
            raise RuntimeError(f"{path} was not saved")


def main() -> None:
    """Read paths from the standard input, a line each; one behind a tab is where to save the file."""
    window = Window()
    found = []
    for line in sys.stdin.read().splitlines():
        path, _, target = line.partition("\t")
        found.append([read(path), window.open(path)])
        if target:
            window.save(target)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
