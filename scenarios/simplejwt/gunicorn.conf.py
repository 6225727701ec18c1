"""How does gunicorn serve the project? TOKENSITE_WORKER is `sync` (default) or `gthread`, TOKENSITE_WORKERS and _THREADS count."""

import os

run_dir = os.environ.get("TOKENSITE_RUN_DIR", "run")

wsgi_app = "tokensite.wsgi:application"
bind = f"127.0.0.1:{os.environ.get('TOKENSITE_PORT', '8000')}"
worker_class = os.environ.get("TOKENSITE_WORKER", "sync")
workers = int(os.environ.get("TOKENSITE_WORKERS", "2"))
threads = int(os.environ.get("TOKENSITE_THREADS", "4")) if worker_class == "gthread" else 1
accesslog = os.path.join(run_dir, "access.log")
errorlog = os.path.join(run_dir, "error.log")
_authorization = ', "authorization": "%({authorization}i)s"' if os.environ.get("TOKENSITE_LOG_AUTHORIZATION") == "1" else ""
access_log_format = '{"time": "%(t)s", "request": "%(r)s", "status": %(s)s, "bytes": "%(B)s", "micros": %(D)s' + _authorization + "}"
