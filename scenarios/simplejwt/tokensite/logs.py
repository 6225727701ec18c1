"""What does a log line look like? One JSON object, whatever framework wrote it."""

import json
import logging


class JsonFormatter(logging.Formatter):
    """One line per record; a traceback goes into its own member."""

    def format(self, record):
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        status = getattr(record, "status_code", None)
        if status is not None:
            line["status"] = status
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
