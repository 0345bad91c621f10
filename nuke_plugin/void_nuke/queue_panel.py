"""The queue as a panel that can be docked. Imported when it is opened: it needs Qt, as Nuke brings it.

Promises: servers are asked in a thread; the panel stops asking when it is closed.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

try:
    from PySide6 import QtCore, QtGui, QtWidgets
except ImportError:  # Nuke 14 and 15
    from PySide2 import QtCore, QtGui, QtWidgets  # type: ignore[no-redef,import-not-found,unused-ignore]

from void_client.errors import VoidError

from . import queue_model
from .messages import explain
from .queue_model import COLUMNS, Row
from .startup import QUEUE, QUEUE_ID, QUEUE_WIDGET

_EVERY_MS = 3000


def show() -> None:
    """In the pane where the properties are, or in a window of its own."""
    import nuke
    from nukescripts import panels

    panel: Any = panels.registerWidgetAsPanel(QUEUE_WIDGET, QUEUE, QUEUE_ID, True)
    panel.addToPane(nuke.getPaneFor("Properties.1") if hasattr(nuke, "getPaneFor") else None)


class QueuePanel(QtWidgets.QWidget):  # type: ignore[misc,unused-ignore]
    """A table of the artist's jobs, with cancel and open."""

    arrived = QtCore.Signal(object)
    said = QtCore.Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName(QUEUE_ID)
        self.rows: tuple[Row, ...] = ()
        self._asking = False
        self.summary = QtWidgets.QLabel("asking…")
        self.table = QtWidgets.QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        self.table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.cancel_button = QtWidgets.QPushButton("Cancel")
        self.open_button = QtWidgets.QPushButton("Open result")
        self.refresh_button = QtWidgets.QPushButton("Refresh")
        self._lay_out()
        self.arrived.connect(self._show)
        self.said.connect(self.summary.setText)
        self.table.itemSelectionChanged.connect(self._enable)
        self.cancel_button.clicked.connect(self.cancel)
        self.open_button.clicked.connect(self.open_result)
        self.refresh_button.clicked.connect(self.refresh)
        self.timer = QtCore.QTimer(self)
        self.timer.setInterval(_EVERY_MS)
        self.timer.timeout.connect(self.refresh)
        self._enable()

    # --- Qt's own

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self.timer.start()
        self.refresh()

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        self.timer.stop()

    # --- what the artist does

    def refresh(self) -> None:
        """Ask in a thread; one question at a time."""
        if not self._asking:
            self._asking = True
            threading.Thread(target=self._ask, name="void queue", daemon=True).start()

    def cancel(self) -> None:
        """The chosen jobs that are under way."""
        rows = [row for row in self.chosen() if row.can_cancel]
        threading.Thread(target=self._cancel, args=(rows,), name="void queue cancel", daemon=True).start()

    def open_result(self) -> None:
        """The folder of the first chosen result."""
        for row in self.chosen():
            if row.result:
                folder = str(Path(row.result).parent)
                QtGui.QDesktopServices.openUrl(QtCore.QUrl.fromLocalFile(folder))
                return

    def chosen(self) -> list[Row]:
        numbers = sorted({index.row() for index in self.table.selectedIndexes()})
        return [self.rows[number] for number in numbers if number < len(self.rows)]

    # --- parts

    def _lay_out(self) -> None:
        buttons = QtWidgets.QHBoxLayout()
        for button in (self.cancel_button, self.open_button):
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(self.refresh_button)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(self.summary)
        layout.addWidget(self.table)
        layout.addLayout(buttons)

    def _ask(self) -> None:
        try:
            self.arrived.emit(queue_model.look(os.environ))
        except VoidError as error:
            self._asking = False
            self.said.emit(str(explain(error)))
        except RuntimeError:
            return  # the panel was closed meanwhile

    def _cancel(self, rows: list[Row]) -> None:
        for row in rows:
            try:
                queue_model.cancel(row, os.environ)
            except VoidError as error:
                self.said.emit(f"{row.job.node}: {explain(error)}")
                return
        self.arrived.emit(queue_model.look(os.environ))

    def _show(self, rows: tuple[Row, ...]) -> None:
        self._asking = False
        chosen = {row.job_id for row in self.chosen()}
        self.rows = rows
        self.summary.setText(queue_model.summary(rows))
        self.table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate(row.cells()):
                item = QtWidgets.QTableWidgetItem(text)
                item.setToolTip(text)
                self.table.setItem(number, column, item)
            if row.job_id in chosen:
                self.table.selectRow(number)
        self._enable()

    def _enable(self) -> None:
        rows = self.chosen()
        self.cancel_button.setEnabled(any(row.can_cancel for row in rows))
        self.open_button.setEnabled(any(row.result for row in rows))
